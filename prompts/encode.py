"""One example to token ids, with the position where the answer is read."""

from __future__ import annotations

from dataclasses import dataclass

from mindport.migrate.errors import MindportError
from mindport.prompts.dataset import InputExample
from mindport.prompts.template import Shape, Template
from mindport.prompts.tokenizer import PromptTokenizer

# Written into every plan: tokenising the whole text at once can differ where a template joins a
# text without a space, and truncation would then move the template's tokens.
TOKENIZATION = "each segment by itself, with the space before it"


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt in tokens.

    Attributes:
        ids: Token ids without padding.
        row: The position whose logits hold the answer: the mask, or the last token.
        truncated: Whether the example's text was cut.
    """

    ids: tuple[int, ...]
    row: int
    truncated: bool


def encode_prompt(
    template: Template,
    example: InputExample,
    tokenizer: PromptTokenizer,
    *,
    shape: Shape,
    max_length: int,
) -> EncodedPrompt:
    """Tokenise one example; when it is too long the end of its text is cut, nothing else.

    Args:
        template: Checked by :func:`check_shape`.
        example: Fills it.
        tokenizer: The vocabulary.
        shape: ``prefix`` stops before the answer; ``cloze`` is ``[CLS] … [MASK] … [SEP]``.
        max_length: The most tokens that a prompt may have.

    Raises:
        MindportError: If the template leaves no room for the text, or the text has no tokens.
    """
    pieces: list[list[int]] = []
    text_at = mask_at = 0
    for segment in template.segments(example):
        if segment.role == "text":
            text_at = len(pieces)
        is_answer = segment.role == "answer"
        pieces.append([] if is_answer else tokenizer.encode(segment.value))
        if is_answer and shape == "cloze":
            mask_at = len(pieces) - 1
            pieces[mask_at] = [_required(tokenizer.mask_id)]
    if not pieces[text_at]:
        raise MindportError(f"The text of example {example.id!r} has no tokens.")
    if shape == "cloze":
        pieces = [[_required(tokenizer.cls_id)], *pieces, [_required(tokenizer.sep_id)]]
        text_at, mask_at = text_at + 1, mask_at + 1
    length = len(pieces[text_at])
    room = max_length - (sum(map(len, pieces)) - length)
    if room < 1:
        raise MindportError(
            f"The template {template.text!r} takes {max_length - room} of {max_length} tokens and "
            f"leaves no room for the text of example {example.id!r}.",
            "Allow more tokens, or shorten the template.",
        )
    pieces[text_at] = pieces[text_at][:room]
    ids = tuple(index for piece in pieces for index in piece)
    row = sum(map(len, pieces[:mask_at])) if shape == "cloze" else len(ids) - 1
    return EncodedPrompt(ids, row, truncated=length > room)


def check_shape(template: Template, tokenizer: PromptTokenizer, shape: Shape) -> None:
    """Raise if prompts of this shape cannot be made.

    Raises:
        MindportError: If text follows the answer of a prefix prompt, or the vocabulary lacks the
            special tokens of a cloze prompt.
    """
    if shape == "prefix" and template.shape != "prefix":
        raise MindportError(
            f"Text follows [Z] in the template {template.text!r}, and a language model never "
            "reads what follows.",
            "End the template with [Z].",
        )
    if shape == "cloze":
        roles = {"mask": tokenizer.mask_id, "cls": tokenizer.cls_id, "sep": tokenizer.sep_id}
        absent = [role for role, index in roles.items() if index is None]
        if absent:
            raise MindportError(
                f"A cloze prompt needs special tokens that this vocabulary lacks: "
                f"{', '.join(absent)}.",
                "Is it the tokenizer of a language model? Use its prefix template.",
            )


def _required(index: int | None) -> int:
    if index is None:
        raise AssertionError("check_shape must come first")
    return index
