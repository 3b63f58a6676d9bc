"""From two checkpoints to a proposal."""

from __future__ import annotations

from mindport.migrate.checkpoints.tensors import TensorReader
from mindport.migrate.guess.by_names import match_cuts, match_names
from mindport.migrate.guess.by_values import left_of, match_values
from mindport.migrate.guess.groups import group_tensors
from mindport.migrate.guess.proposal import Guess
from mindport.migrate.guess.values import Values


def guess_map(source: TensorReader, target: TensorReader, *, by_values: bool = False) -> Guess:
    """Return which tensors of one checkpoint may become which of another.

    Args:
        source: The one.
        target: One in the layout that is wanted.
        by_values: Whether both hold the same numbers, so that these can be compared.

    Raises:
        CheckpointError: If numbers cannot be read.
    """
    sources, targets = group_tensors(source.infos), group_tensors(target.infos)
    values = Values(source, target) if by_values else None
    proposals = match_values(sources, targets, values) if values is not None else []
    for match in (match_names, match_cuts):
        left = left_of(sources, targets, proposals)
        proposals = proposals + match(*left, values)
    place = {group.pattern: number for number, group in enumerate(targets)}
    proposals.sort(key=lambda proposal: place[proposal.rule.targets[0]])
    return Guess(proposals, *left_of(sources, targets, proposals))
