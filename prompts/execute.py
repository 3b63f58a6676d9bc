"""Run a plan on a model: the one loop that every backend shares."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import numpy as np

from mindport.prompts.plan import Batch, Plan

Allocate = Callable[[tuple[int, int, int]], np.ndarray]


class PromptModel(Protocol):
    """What a backend gives: rows of logits, and nothing else.

    One for which a new width costs nothing may say so with an attribute ``any_width = True``; its
    batches are then only as wide as their longest prompt. For others the plan's widths are kept,
    which are few, so that graphs are compiled for few shapes.
    """

    def answer(
        self, inputs: Mapping[str, np.ndarray], positions: np.ndarray, past: Any = None
    ) -> tuple[np.ndarray, Any]:
        """Return the logits at some positions.

        Args:
            inputs: ``input_ids``, ``position_ids`` and ``token_type_ids``, int64 (batch, seq), and
                ``attention_mask``, int64 (batch, past + seq), 0 for padding. Those that the
                network does not take are to be left out.
            positions: int64 (batch, k), counted in ``seq``.
            past: What :meth:`cache`, :meth:`select` or an earlier answer returned; None computes
                without a cache.

        Returns:
            float32 (batch, k, vocabulary), and the cache with ``seq`` tokens more, or None.
        """
        ...

    def cache(self, batch: int, room: int) -> Any:
        """Return an empty cache for a batch, with room for ``room`` tokens."""
        ...

    def select(self, cache: Any, index: np.ndarray, room: int) -> Any:
        """Return some of a cache's sequences; the given cache stays usable.

        Args:
            cache: A cache.
            index: int64 (batch,), which sequences; they may repeat.
            room: How many further tokens there must be room for.
        """
        ...


def run_plan(
    plan: Plan,
    model: PromptModel,
    *,
    optimised: bool = True,
    items: Collection[int] | None = None,
    allocate: Allocate = lambda shape: np.empty(shape, np.float32),
) -> np.ndarray:
    """Return a model's rows of logits.

    Optimised, prompts go in batches, what all begin with is computed once, only the wanted rows go
    through the vocabulary, and words of several tokens continue from what was computed. If not,
    every prompt, and every continuation of it, is a batch of its own without padding or cache, and
    all its positions go through the vocabulary. The rows differ by rounding only.

    Args:
        plan: What to run.
        model: Answers.
        optimised: See above.
        items: Run these only; the rows come in ascending order of the items. None runs all.
        allocate: Makes the array for the result from its shape; a memory map, for instance.

    Returns:
        float32 (items, plan.rows_per_item, vocabulary).

    Raises:
        ValueError: If ``items`` is empty or holds what the plan has not.
    """
    wanted = sorted(range(plan.items) if items is None else set(items))
    if not wanted or wanted[0] < 0 or wanted[-1] >= plan.items:
        raise ValueError(f"items must be some of 0 to {plan.items - 1}, not {wanted}")
    place_of = {item: place for place, item in enumerate(wanted)}
    result: np.ndarray | None = None
    run = _planned if optimised else _one_by_one
    for item, row, logits in run(plan, model, place_of):
        if result is None:
            result = allocate((len(wanted), plan.rows_per_item, logits.shape[-1]))
        result[place_of[item], row] = logits
    if result is None:
        raise AssertionError("a plan has a prompt for every item")
    return result


def _planned(plan: Plan, model: PromptModel, items: Collection[int]) -> Any:
    """Yield item, row and logits of the batches, cut to the wanted items."""
    sequences = [np.array(c.ids, np.int64) for c in plan.continuations]
    longest = max(map(len, sequences), default=0)
    prefix = None
    if plan.prefix.size:
        ids = plan.prefix[None]
        prefix = model.cache(1, ids.shape[1])
        # An answer is not wanted, but the keys and values are.
        last = np.array([[ids.shape[1] - 1]], np.int64)
        _, prefix = model.answer(_inputs(ids, 0, np.array([ids.shape[1]])), last, prefix)
    for batch in plan.batches:
        kept = np.array([i for i, item in enumerate(batch.items) if int(item) in items], np.int64)
        if not kept.size:
            continue
        lengths = batch.lengths[kept]
        exact = getattr(model, "any_width", False)
        width = int(lengths.max()) if exact else batch.input_ids.shape[1]
        ids = batch.input_ids[kept, :width]
        past = None
        width = ids.shape[1]  # what continues the prompts is given its room later
        if prefix is not None:
            past = model.select(prefix, np.zeros(len(kept), np.int64), width)
        elif longest:
            past = model.cache(len(kept), width)
        fed = _inputs(ids, plan.prefix.size, lengths)
        rows, past = model.answer(fed, batch.positions[kept], past)
        yield from _rows_of(batch, kept, rows)
        if longest:
            yield from _continued(plan, model, batch, kept, width, sequences, past)


def _rows_of(batch: Batch, kept: np.ndarray, rows: np.ndarray) -> Any:
    for place, index in enumerate(kept):
        for k in range(rows.shape[1]):
            yield int(batch.items[index]), int(batch.first_rows[index]) + k, rows[place, k]


def _continued(
    plan: Plan,
    model: PromptModel,
    batch: Batch,
    kept: np.ndarray,
    width: int,
    sequences: list[np.ndarray],
    past: Any,
) -> Any:
    """Yield the rows behind the label words' beginnings, from the cache of their prompts."""
    longest = max(map(len, sequences))
    ids = np.full((len(sequences), longest), plan.pad_id, np.int64)
    for place, sequence in enumerate(sequences):
        ids[place, : len(sequence)] = sequence
    count, start = len(sequences), plan.prefix.size
    own = np.repeat(np.arange(len(kept)), count)  # (batch * count,), the prompt of each
    cache = model.select(past, own, longest)
    fed_ids = np.tile(ids, (len(kept), 1))
    lengths = np.tile([len(sequence) for sequence in sequences], len(kept))
    before = _mask(batch.lengths[kept][own], width)
    mask = np.concatenate(
        [np.ones((len(own), start), np.int64), before, _mask(lengths, longest)], axis=1
    )
    first = start + batch.lengths[kept][own]
    steps = np.arange(longest, dtype=np.int64)
    fed = {
        "input_ids": fed_ids,
        # What stands behind a sequence is padding; its position only has to exist.
        "position_ids": first[:, None] + np.minimum(steps, lengths[:, None] - 1),
        "token_type_ids": np.zeros_like(fed_ids),
        "attention_mask": mask,
    }
    rows, _ = model.answer(fed, np.tile(steps, (len(own), 1)), cache)
    for place, index in enumerate(own):
        item = int(batch.items[kept[index]])
        for step, row in enumerate(plan.continuations[place % count].rows):
            if row >= 0:
                yield item, row, rows[place, step]


def _one_by_one(plan: Plan, model: PromptModel, items: Collection[int]) -> Any:
    """Yield the same rows from prompts that run alone and whole."""
    for batch in plan.batches:
        for place, item in enumerate(batch.items):
            if int(item) not in items:
                continue
            own = batch.input_ids[place, : batch.lengths[place]]
            prompt = np.concatenate([plan.prefix, own])
            logits = _all_logits(model, prompt)
            for k, position in enumerate(batch.positions[place] + plan.prefix.size):
                yield int(item), int(batch.first_rows[place]) + k, logits[position]
            for continuation in plan.continuations:
                logits = _all_logits(model, np.concatenate([prompt, continuation.ids]))
                for step, row in enumerate(continuation.rows):
                    if row >= 0:
                        yield int(item), row, logits[len(prompt) + step]


def _all_logits(model: PromptModel, ids: np.ndarray) -> np.ndarray:
    positions = np.arange(len(ids), dtype=np.int64)[None]
    rows, _ = model.answer(_inputs(ids[None], 0, np.array([len(ids)])), positions)
    logits: np.ndarray = rows[0]
    return logits


def _inputs(ids: np.ndarray, past: int, lengths: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a network is fed; padding counts on, up to the batch's width."""
    batch, width = ids.shape
    positions = past + np.arange(width, dtype=np.int64)
    mask = np.concatenate([np.ones((batch, past), np.int64), _mask(lengths, width)], axis=1)
    return {
        "input_ids": ids.astype(np.int64),
        "position_ids": np.tile(positions, (batch, 1)),
        "token_type_ids": np.zeros_like(ids, dtype=np.int64),
        "attention_mask": mask,
    }


def _mask(lengths: np.ndarray, width: int) -> np.ndarray:
    """Return int64 (batch, width): 1 on the first ``lengths`` places."""
    mask: np.ndarray = (np.arange(width) < lengths[:, None]).astype(np.int64)
    return mask
