"""Whether a request to accept departures can be met."""

from __future__ import annotations

from collections.abc import Sequence

from mindport.migrate.errors import MindportError
from mindport.validate.departures.known import find_departures
from mindport.validate.tolerance import TolerancePolicy

ACCEPT = (
    "Judge the candidate against the network with this kernel of its platform, a known departure "
    "from the definition; everything else is held to the derived tolerance. May be given several "
    "times."
)


def check_accepted(
    names: Sequence[str],
    policy: TolerancePolicy,
    *,
    device: str,
    framework: str | None = None,
    gradients: bool = False,
    emulate: str | None = None,
) -> None:
    """Refuse what contradicts itself.

    Args:
        names: Of the departures, as asked for.
        policy: The tolerance.
        device: The kind of the candidate's.
        framework: The candidate's; None if it has not run yet.
        gradients: Whether gradients are to be compared.
        emulate: The unit that the candidate emulates, or None.

    Raises:
        MindportError: If a departure is unknown or of another platform, or cannot be accepted
            beside what else is asked for.
    """
    if not names:
        return
    if emulate is not None:
        raise MindportError(
            f"--accept is for the kernels of a framework, and --emulate {emulate} runs none.",
            "Leave out one of the two.",
        )
    find_departures(names, framework=framework, device=device, dtype=policy.dtype)
    if not policy.derived:
        raise MindportError(
            f"--accept keeps the derived tolerance for everything else, and the policy "
            f"{policy.name} has a fixed one.",
            "Leave out --accept, or --policy, --atol and --rtol.",
        )
    if policy.mixed:
        raise MindportError(
            "What an accepted departure does is told where both sides compute in one dtype.",
            "Leave out --accept or --reference-dtype.",
        )
    if gradients:
        raise MindportError(
            "The tolerance of gradients is not derived for an accepted departure.",
            "Leave out --accept, or compare without gradients.",
        )
