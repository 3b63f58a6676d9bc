"""Prompts as one text each, as a reader of a log wants to see them."""

from __future__ import annotations

from mindport.prompts.dataset import InputExample
from mindport.prompts.shots import Shots
from mindport.prompts.template import Template
from mindport.prompts.verbalizer import Verbalizer


def render_prompt(
    template: Template, verbalizer: Verbalizer, shots: Shots, example: InputExample
) -> str:
    """Return instruction, demonstrations and question as one text, uncut.

    Args:
        template: Of the prompt.
        verbalizer: A demonstration is answered with the first word of its label.
        shots: What stands first.
        example: What is asked; ``[Z]`` stays at the place of its answer.

    Raises:
        MindportError: If an example lacks a field.
    """
    pieces = [shots.instruction] if shots.instruction.strip() else []
    for shot in shots.examples:
        answer = [word.text for word in verbalizer.label_words[shot.label][0]]
        pieces.append(template.render(shot, answer))
    return shots.delimiter.join([*pieces, template.render(example)])
