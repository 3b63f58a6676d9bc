"""Lines that show a plan: how prompts reach a model, and where its answer is read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from mindport.migrate.console import label
from mindport.migrate.language import tell
from mindport.prompts.plan import Batch, Plan
from mindport.prompts.tokenizer import PromptTokenizer

_WIDTH = 10  # of the words that lines begin with


def plan_lines(plan: Plan, tokenizer: PromptTokenizer) -> Iterator[str]:
    """Yield what all prompts have in common: template, label words, demonstrations."""
    yield _line("task", f"{plan.task}, version {plan.task_version}")
    yield _line("template", f"{quoted(plan.template)} ({plan.shape})")
    if plan.instruction:
        yield _line("before", quoted(plan.instruction))
    for name, text in zip(plan.shot_ids, plan.shot_texts, strict=True):
        yield _line("shot", f"{name}: {quoted(text)}")
    if plan.shots_cut:
        yield _line("cut", f"the texts of {plan.shots_cut} demonstrations, to fit")
    yield _line("tokens", f"{plan.tokenizer_family}, {plan.tokenizer_size} in the vocabulary")
    for index, name in enumerate(plan.labels):
        words = []
        for word in plan.words:
            if word.label == index:
                ids = [token for _, token in word.steps]
                pieces = " + ".join(map(quoted, tokenizer.pieces(ids)))
                words.append(f"{pieces} = {' '.join(map(str, ids))}")
        yield _line("label", f"{name}: {', '.join(words)}")
    yield _line("score", _rule(plan))
    if plan.calibration != "none":
        inputs = ", ".join(map(quoted, plan.prior_texts))
        yield _line("prior", f"{plan.calibration}, from {inputs}")
    if plan.prefix.size:
        yield _line("shared", f"{plan.prefix.size} tokens that all prompts begin with, run once")
    if plan.truncated:
        yield _line("cut", f"the texts of {plan.truncated} of {len(plan)} items, to fit")
    if plan.duplicates:
        yield _line("again", f"{plan.duplicates} of {len(plan)} items repeat an earlier text")


def item_lines(plan: Plan, item: int, text: str, tokenizer: PromptTokenizer) -> Iterator[str]:
    """Yield what one item is asked.

    Args:
        plan: The plan.
        item: Its place among the examples.
        text: The prompt, rendered.
        tokenizer: Reads the tokens back.
    """
    cut = ", its text cut to fit" if item in plan.truncated_items else ""
    yield _line("item", f"{plan.ids[item]}: {plan.labels[plan.label_indices[item]]}{cut}")
    yield _line("text", quoted(text))
    for batch, place in _prompts_of(plan, item):
        ids = [*plan.prefix.tolist(), *batch.input_ids[place, : batch.lengths[place]].tolist()]
        rows = (batch.positions[place] + plan.prefix.size).tolist()
        pieces = tokenizer.pieces(ids)
        yield _line("tokens", " ".join(map(quoted, pieces)))
        yield _line("ids", " ".join(map(str, ids)))
        at = ", ".join(f"position {row} of {len(ids)}, {quoted(pieces[row])}" for row in rows)
        yield _line("[Z]", f"logits of {at}")


def told(line: str) -> str:
    """Return one of the lines in the reader's language; texts and names stay as they are."""
    return label(line[:_WIDTH].rstrip(), _WIDTH) + tell(line[_WIDTH:])


def _line(word: str, text: str) -> str:
    return f"{word:{_WIDTH}}{text}"


def quoted(text: str) -> str:
    """Return the text in quotes, control characters spelt out."""
    return json.dumps(text, ensure_ascii=False)


def _rule(plan: Plan) -> str:
    longest = max(len(word.steps) for word in plan.words)
    parts = ["log-probability of a word"]
    if longest > 1:
        parts.append("summed over its tokens")
    if longest > 1 and plan.shape == "cloze":
        parts.append(f"{plan.masks} masks")
    if plan.normalize != "none":
        parts.append(f"divided by its {plan.normalize}")
    return f"{', '.join(parts)}; of a label: {plan.aggregate}"


def _prompts_of(plan: Plan, item: int) -> Sequence[tuple[Batch, int]]:
    found = [
        (batch, place)
        for batch in plan.batches
        for place, owner in enumerate(batch.items)
        if int(owner) == item
    ]
    return sorted(found, key=lambda entry: int(entry[0].first_rows[entry[1]]))
