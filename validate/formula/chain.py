"""The steps from the taps that a run has to one of its taps: what lies between uncaptured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mindport.migrate.computation import Step
from mindport.validate.formula.operations import Setting, evaluate

Tap = Callable[[str], "np.ndarray | None"]


def chain_to(step: Step, steps: Sequence[Step], has: Callable[[str], bool]) -> list[Step]:
    """Return the steps from captured taps up to one, in network order.

    Args:
        step: The last of them.
        steps: Of the head, filled in.
        has: Whether a tap was captured.
    """
    makes = {member.tap: member for member in steps}
    wanted, needed = [step], set[str]()
    while wanted:
        current = wanted.pop()
        if current.tap in needed:
            continue
        needed.add(current.tap)
        wanted += [makes[name] for name in current.inputs if not has(name)]
    return [member for member in steps if member.tap in needed]


def run_chain(
    chain: Sequence[Step], given: Mapping[str, np.ndarray], tap: Tap, setting: Setting
) -> dict[str, np.ndarray]:
    """Return what each step of a chain makes, float64.

    Args:
        chain: In network order.
        given: Results that are not to be computed.
        tap: Reads a captured tap, float64.
        setting: Config, model inputs and parameters.
    """
    values = dict(given)
    for member in chain:
        if member.tap not in values:
            values[member.tap] = evaluate(member, inputs_of(member, values, tap), setting)
    return values


def inputs_of(step: Step, values: Mapping[str, np.ndarray], tap: Tap) -> list[np.ndarray]:
    """Return what a step reads: results of a chain, or else captured taps.

    Raises:
        KeyError: If one is neither.
    """
    found = []
    for name in step.inputs:
        array = values[name] if name in values else tap(name)
        if array is None:
            raise KeyError(name)
        found.append(array)
    return found
