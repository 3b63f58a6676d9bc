"""Make a plan: render, tokenise, read words as rows and tokens, and batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts.aggregate import NORMALIZERS
from mindport.prompts.dataset import InputExample, PromptDataset, tidy
from mindport.prompts.encode import TOKENIZATION, EncodedPrompt, Fill, PromptEncoder
from mindport.prompts.plan import Batch, Continuation, Plan, PlannedWord
from mindport.prompts.shots import NO_SHOTS, Shots
from mindport.prompts.task import Task
from mindport.prompts.template import Part, Shape, Template
from mindport.prompts.tokenizer import PromptTokenizer

# Widths are rounded up to this, so that a graph-mode backend compiles few shapes.
_WIDTH_STEP = 16
# A shorter common beginning is not worth a cache.
_LEAST_PREFIX = 8

Tokens = tuple[tuple[int, ...], ...]  # of a word: for each [Z] its tokens


@dataclass(frozen=True)
class Reading:
    """How the words' tokens are read from an item's rows.

    Attributes:
        fills: What stands at the masks of each of an item's prompts; one empty entry for a
            language model, which has no masks.
        first_rows: For each of those prompts, the row that its first position is.
        continuations: What is put behind every prompt of a language model.
        steps: For each word its rows and tokens.
        rows: How many rows an item has.
    """

    fills: tuple[Fill, ...]
    first_rows: tuple[int, ...]
    continuations: tuple[Continuation, ...]
    steps: tuple[tuple[tuple[int, int], ...], ...]
    rows: int


def make_plan(
    task: Task,
    tokenizer: PromptTokenizer,
    *,
    architecture_shape: Shape,
    max_length: int,
    limit: int | None = None,
    batch_size: int = 16,
    dataset: PromptDataset | None = None,
    shots: Shots | None = None,
) -> Plan:
    """Render, tokenise and batch a task.

    Args:
        task: Labels, words and templates.
        tokenizer: The checkpoint's.
        architecture_shape: ``prefix`` for a language model, ``cloze`` for a masked one.
        max_length: The most tokens in a prompt: the model's positions, or fewer.
        limit: Keep this many rows, the labels in turn (:meth:`PromptDataset.take`); None keeps all.
        batch_size: The most prompts in a batch.
        dataset: The rows; by default the task's own.
        shots: Demonstrations; by default none.

    Raises:
        MindportError: If the task has no such template, a label word does not fit the vocabulary,
            a demonstration is one of the rows, or a row cannot be used.
    """
    for name, value in (("max_length", max_length), ("limit", limit), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise MindportError(f"{name} must be 1 or more, not {value}.")
    if architecture_shape not in task.templates:
        raise MindportError(
            f"The task {task.name!r} has no {architecture_shape} template.",
            f"It has: {', '.join(task.templates)}.",
        )
    template, verbalizer = task.templates[architecture_shape], task.verbalizer
    shots = NO_SHOTS if shots is None else shots
    data = task.read_data() if dataset is None else dataset
    data = data if limit is None else data.take(limit)
    _check_shots(shots, data, template)
    tokens = verbalizer.token_ids(tokenizer, after_space=template.answer_follows_space)
    reading = (
        read_continued(tokens)
        if architecture_shape == "prefix"
        else read_masked(tokens, pseudo=verbalizer.masks == "pseudo")
    )
    longest = max((len(c.ids) for c in reading.continuations), default=0)
    if longest >= max_length:
        raise MindportError(
            f"The longest label word needs {longest} tokens behind the prompt, but a prompt may "
            f"have {max_length} in all.",
            "Allow more tokens, or choose shorter words.",
        )
    priors = [_content_free(template.parts, text) for text in task.calibration.inputs]
    encoder = PromptEncoder(
        template,
        verbalizer,
        tokenizer,
        shape=architecture_shape,
        max_length=max_length - longest,
        shots=shots,
        questions=[*data, *priors],
        answer=max(sum(map(len, fill)) for fill in reading.fills),
    )
    prompts = [
        [encoder.encode(example, fill, allow_empty=i >= len(data)) for fill in reading.fills]
        for i, example in enumerate([*data, *priors])
    ]
    flat = [prompt for item in prompts for prompt in item]
    prefix = common_prefix(flat) if architecture_shape == "prefix" else ()
    answers = verbalizer.answers
    divisor = NORMALIZERS[verbalizer.normalize]
    texts = [" ".join(word.text for word in answer) for _, answer in answers]
    return Plan(
        task=task.name,
        task_version=task.version,
        shape=architecture_shape,
        template=template.text,
        instruction=shots.instruction,
        delimiter=shots.delimiter,
        shot_ids=tuple(example.id for example in shots.examples),
        shot_texts=tuple(tidy(example.text) for example in shots.examples),
        shots_cut=encoder.shots_cut,
        tokenization=TOKENIZATION,
        tokenizer_family=tokenizer.family,
        tokenizer_hash=tokenizer.hash,
        tokenizer_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        labels=verbalizer.labels,
        words=tuple(
            PlannedWord(text, label, steps, divisor(text, len(steps)))
            for text, (label, _), steps in zip(texts, answers, reading.steps, strict=True)
        ),
        rows_per_item=reading.rows,
        aggregate=verbalizer.aggregate,
        normalize=verbalizer.normalize,
        masks=verbalizer.masks,
        calibration=task.calibration.kind,
        chance=task.chance,
        max_length=max_length,
        batch_size=batch_size,
        ids=tuple(example.id for example in data),
        texts=tuple(tidy(example.text) for example in data),
        label_indices=_label_indices(data, verbalizer.labels),
        prior_texts=task.calibration.inputs,
        truncated_items=tuple(
            i for i, item in enumerate(prompts[: len(data)]) if any(p.truncated for p in item)
        ),
        duplicates=data.duplicates,
        prefix=np.array(prefix, np.int64),
        continuations=reading.continuations,
        batches=_batches(
            prompts, reading, tokenizer.pad_id, batch_size, max_length - longest, len(prefix)
        ),
    )


def read_continued(tokens: Sequence[Tokens]) -> Reading:
    """Return how a language model's words are read: a tree of continuations.

    Row 0 follows the prompt; a word's next token is read behind those before it. Words that begin
    alike share what they share.
    """
    words = [word[0] for word in tokens]
    nodes = sorted({word[:end] for word in words for end in range(1, len(word))})
    rows = {node: 1 + place for place, node in enumerate(nodes)}
    leaves = [node for node in nodes if not any(o[:-1][: len(node)] == node for o in nodes)]
    seen: set[tuple[int, ...]] = set()
    continuations = []
    for leaf in leaves:
        starts = [leaf[:end] for end in range(1, len(leaf) + 1)]
        continuations.append(
            Continuation(leaf, tuple(-1 if start in seen else rows[start] for start in starts))
        )
        seen.update(starts)
    return Reading(
        fills=(((None,),),),
        first_rows=(0,),
        continuations=tuple(continuations),
        steps=tuple(
            tuple((rows[word[:end]] if end else 0, token) for end, token in enumerate(word))
            for word in words
        ),
        rows=1 + len(nodes),
    )


def read_masked(tokens: Sequence[Tokens], *, pseudo: bool) -> Reading:
    """Return how a masked model's words are read.

    Args:
        tokens: Of every word, for each ``[Z]``.
        pseudo: Whether the tokens of a word are masked one at a time. If not, all are, and words
            of as many tokens share a prompt.
    """
    fills: dict[Fill, int] = {}  # each with its first row
    rows = 0
    steps: list[tuple[tuple[int, int], ...]] = []
    for word in tokens:
        flat = [token for part in word for token in part]
        if not pseudo or len(flat) == 1:
            fill: Fill = tuple((None,) * len(part) for part in word)
            if fill not in fills:
                fills[fill], rows = rows, rows + len(flat)
            steps.append(tuple((fills[fill] + t, token) for t, token in enumerate(flat)))
            continue
        own = []
        for hidden in range(len(flat)):
            fill = _hide(word, hidden)
            if fill not in fills:
                fills[fill], rows = rows, rows + 1
            own.append((fills[fill], flat[hidden]))
        steps.append(tuple(own))
    return Reading(tuple(fills), tuple(fills.values()), (), tuple(steps), rows)


def _hide(word: Tokens, hidden: int) -> Fill:
    """Return a word with one of its tokens masked."""
    place = iter(range(sum(map(len, word))))
    return tuple(tuple(None if next(place) == hidden else t for t in part) for part in word)


def common_prefix(prompts: Sequence[EncodedPrompt]) -> tuple[int, ...]:
    """Return the tokens that all prompts begin with, leaving each at least one of its own.

    One prompt alone shares nothing.
    """
    ids = [prompt.ids for prompt in prompts]
    if len(ids) < 2:
        return ()
    length = min(map(len, ids)) - 1
    first, last = min(ids), max(ids)
    same = next((i for i in range(length) if first[i] != last[i]), length)
    return first[:same] if same >= _LEAST_PREFIX else ()


def _content_free(parts: Sequence[Part], text: str) -> InputExample:
    fields = {part.value: text for part in parts if part.role == "field"}
    return InputExample(id=f"without content: {text!r}", text=text, label="", meta=fields)


def _check_shots(shots: Shots, data: PromptDataset, template: Template) -> None:
    if not shots.examples:
        return
    # All that the template shows, and not the text alone: rows may share one of two texts.
    asked = {template.render(example) for example in data}
    known = [example for example in shots.examples if template.render(example) in asked]
    if known:
        raise MindportError(
            f"The demonstration {known[0].id!r} is one of the rows that are asked.",
            "Take demonstrations from rows that are not evaluated.",
        )


def _label_indices(data: PromptDataset, labels: tuple[str, ...]) -> tuple[int, ...]:
    for example in data:
        if example.label not in labels:
            raise MindportError(
                f"{data.source}: the label {example.label!r} of example {example.id!r} has no "
                "words.",
                f"The verbalizer has: {', '.join(labels)}.",
            )
    return tuple(labels.index(example.label) for example in data)


def _batches(
    prompts: Sequence[Sequence[EncodedPrompt]],
    reading: Reading,
    pad_id: int,
    batch_size: int,
    max_length: int,
    prefix: int,
) -> tuple[Batch, ...]:
    """Return batches of prompts with as many answer positions, longest first.

    Too little memory shows at once then.
    """
    units = [
        (prompt, item, reading.first_rows[kind])
        for item, kinds in enumerate(prompts)
        for kind, prompt in enumerate(kinds)
    ]
    units.sort(key=lambda unit: (len(unit[0].rows), -len(unit[0].ids)))
    batches = []
    start = 0
    for place in range(1, len(units) + 1):
        full = place - start == batch_size
        if place == len(units) or full or len(units[place][0].rows) != len(units[start][0].rows):
            batches.append(_batch(units[start:place], pad_id, max_length, prefix))
            start = place
    return tuple(batches)


def _batch(
    units: Sequence[tuple[EncodedPrompt, int, int]], pad_id: int, max_length: int, prefix: int
) -> Batch:
    lengths = np.array([len(prompt.ids) - prefix for prompt, _, _ in units], np.int64)
    width = min(-(-int(lengths.max()) // _WIDTH_STEP) * _WIDTH_STEP, max_length - prefix)
    ids = np.full((len(units), width), pad_id, np.int64)
    for place, (prompt, _, _) in enumerate(units):
        ids[place, : lengths[place]] = prompt.ids[prefix:]
    return Batch(
        input_ids=ids,
        lengths=lengths,
        positions=np.array([prompt.rows for prompt, _, _ in units], np.int64) - prefix,
        items=np.array([item for _, item, _ in units], np.int64),
        first_rows=np.array([row for _, _, row in units], np.int64),
    )
