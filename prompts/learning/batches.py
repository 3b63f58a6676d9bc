"""A task's rows to prompts with slots: the one place here that renders and tokenises."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts.dataset import PromptDataset, tidy
from mindport.prompts.encode import EncodedPrompt, PromptEncoder
from mindport.prompts.learning.data import LearningData, PromptSet
from mindport.prompts.learning.methods import load_method
from mindport.prompts.learning.model import LabelWords
from mindport.prompts.learning.settings import LearningSettings
from mindport.prompts.task import Task
from mindport.prompts.template import Shape, Template
from mindport.prompts.tokenizer import PromptTokenizer

_SHOWN = 5


def make_data(
    task: Task,
    tokenizer: PromptTokenizer,
    settings: LearningSettings,
    *,
    shape: Shape,
    positions: int,
    train: PromptDataset,
    evaluation: PromptDataset,
) -> LearningData:
    """Render and tokenise what is learned from and what is measured on.

    Args:
        task: Labels, words and templates.
        tokenizer: The checkpoint's.
        settings: Method, tokens, place, seed and start.
        shape: ``prefix`` for a language model, ``cloze`` for a masked one.
        positions: The model's.
        train: Rows to learn from.
        evaluation: Rows to measure on, held out.

    Raises:
        MindportError: If a held-out row is among those to learn from, the task scores in a way
            that cannot be learned, or a prompt cannot be made.
    """
    _check_apart(train, evaluation)
    if shape not in task.templates:
        raise MindportError(
            f"The task {task.name!r} has no {shape} template.",
            f"It has: {', '.join(task.templates)}.",
        )
    template = task.templates[shape]
    words = _label_words(task, tokenizer, template)
    slots = settings.tokens if load_method(settings.method).SLOTS else 0
    if slots >= positions:
        raise MindportError(
            f"{slots} tokens leave no room: the model has {positions} positions.",
            "Learn fewer.",
        )

    encoder = PromptEncoder(
        template, task.verbalizer, tokenizer, shape=shape, max_length=positions - slots
    )

    def encode(data: PromptDataset) -> PromptSet:
        encoded = [encoder.encode(row) for row in data]
        return _with_slots(
            encoded, data, task.verbalizer.labels, shape, settings, slots, tokenizer.pad_id
        )

    allowed = _allowed(tokenizer, words)
    return LearningData(
        task=task.name,
        task_version=task.version,
        shape=shape,
        template=template.text,
        labels=task.verbalizer.labels,
        words=words,
        train=encode(train),
        evaluation=encode(evaluation),
        start=_start(settings, tokenizer, allowed),
        allowed=allowed,
        pad=tokenizer.pad_id,
        positions=positions,
    )


def _check_apart(train: PromptDataset, evaluation: PromptDataset) -> None:
    held_out = {tidy(row.text).lower() for row in evaluation}
    both = [row.id for row in train if tidy(row.text).lower() in held_out]
    if both:
        names = ", ".join(both[:_SHOWN]) + (" …" if len(both) > _SHOWN else "")
        raise MindportError(
            f"{len(both)} of the rows to learn from ({train.source}) are held out, too "
            f"({evaluation.source}): {names}.",
            "Nothing may be learned from rows that are measured on; give others with --train.",
        )


def _label_words(task: Task, tokenizer: PromptTokenizer, template: Template) -> LabelWords:
    """Return the label words, each one token.

    Raises:
        MindportError: If the task scores otherwise, or a word is more than one token.
    """
    verbalizer = task.verbalizer
    for name, value, known in (
        ("aggregate", verbalizer.aggregate, "mean_log"),
        ("normalize", verbalizer.normalize, "none"),
        ("calibration", task.calibration.kind, "none"),
    ):
        if value != known:
            raise MindportError(
                f"The task {task.name!r} scores with {name}: {value}, which no prompt is learned "
                "for.",
                f"Learning knows {name}: {known}; leave the key out of the task.",
            )
    tokens = verbalizer.token_ids(tokenizer, after_space=template.answer_follows_space)
    weights = np.zeros((len(verbalizer.labels), len(tokens)), np.float32)
    columns = []
    for place, ((label, answer), parts) in enumerate(zip(verbalizer.answers, tokens, strict=True)):
        if len(parts) != 1 or len(parts[0]) != 1:
            text = " … ".join(word.text for word in answer)
            raise MindportError(
                f"{text!r}, a word of label {verbalizer.labels[label]!r}, is "
                f"{sum(map(len, parts))} tokens; prompts are learned for words of one token, at "
                "one [Z].",
                "Choose another word, or another template.",
            )
        columns.append(parts[0][0])
        weights[label, place] = 1 / len(verbalizer.label_words[verbalizer.labels[label]])
    return LabelWords(np.array(columns, np.int64), weights)


def _with_slots(
    encoded: Sequence[EncodedPrompt],
    data: PromptDataset,
    labels: tuple[str, ...],
    shape: Shape,
    settings: LearningSettings,
    count: int,
    pad: int,
) -> PromptSet:
    """Put the slots in: at the start, or just before the answer."""
    prompts, rows, slots = [], [], []
    for prompt in encoded:
        (row,) = prompt.rows
        if settings.place == "start":
            at = 1 if shape == "cloze" else 0  # after [CLS]
        else:  # a language model answers behind the last token, a masked one at the mask
            at = row if shape == "cloze" else row + 1
        prompts.append(np.insert(np.array(prompt.ids, np.int64), at, [pad] * count))
        moves = at <= row or shape == "prefix"  # a language model answers at the last token
        rows.append(row + count * moves)
        slots.append(at + np.arange(count, dtype=np.int64))
    known = {label: index for index, label in enumerate(labels)}
    for example in data:
        if example.label not in known:
            raise MindportError(
                f"{data.source}: the label {example.label!r} of row {example.id!r} has no words.",
                f"The task has: {', '.join(labels)}.",
            )
    return PromptSet(
        tuple(row.id for row in data),
        tuple(prompts),
        np.array(rows, np.int64),
        np.stack(slots),
        np.array([known[row.label] for row in data], np.int64),
    )


def _allowed(tokenizer: PromptTokenizer, words: LabelWords) -> np.ndarray:
    """Return the tokens that may be triggers: those that read as text and are no label words.

    What does not come back as itself when its text is tokenised (a special token, half a
    character, a piece that only stands inside words) could not be typed into a prompt.
    """
    allowed = []
    kept_out = set(words.columns.tolist())
    for index in range(tokenizer.vocab_size):
        if index in kept_out:
            continue
        (piece,) = tokenizer.pieces([index])
        if not piece.strip() or "�" in piece or piece.startswith(("##", "[", "<")):
            continue
        try:
            same = tokenizer.encode(piece) == [index]
        except MindportError:  # a special token
            continue
        if same:
            allowed.append(index)
    if not allowed:
        raise MindportError("No token of this vocabulary could be a trigger.")
    return np.array(allowed, np.int64)


def _start(
    settings: LearningSettings, tokenizer: PromptTokenizer, allowed: np.ndarray
) -> np.ndarray:
    if not settings.start_text:
        rng = np.random.default_rng((settings.seed, 2))
        return rng.choice(allowed, settings.tokens)
    ids = tokenizer.encode(settings.start_text)
    if not ids:
        raise MindportError(f"The start text {settings.start_text!r} has no tokens.")
    return np.resize(np.array(ids, np.int64), settings.tokens)
