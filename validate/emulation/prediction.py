"""What an emulated run says of the device: by tap what was predicted, found, and is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mindport.validate.emulation.units import Unit
from mindport.validate.verdict import TapResult

NOT_RUN = "nothing was run on the device"


@dataclass(frozen=True)
class Emulation:
    """An emulated run.

    Attributes:
        unit: What was emulated.
        beyond_range: By tap, how many inputs or sums of its products were too large for the unit.
    """

    unit: Unit
    beyond_range: Mapping[str, int] = field(default_factory=dict)

    def headline(self, taps: Sequence[TapResult], problem: str, prompts: str = "") -> str:
        """Return one sentence that no reader can take for a result of the device.

        Args:
            taps: Results in network order.
            problem: What failed, or nothing.
            prompts: What became of the prompts, in words, if any were asked.
        """
        if problem:
            said = problem + self._overflow()
        else:
            last = tap_prediction(taps[-1])
            said = (
                f"{taps[-1].name} off by at most {last['largest']:.2g}, {last['found']:.2g} (rms), "
                f"of {last['predicted']:.2g} predicted; predicted tolerance {last['limit']:.2g} "
                f"(rms) and {last['limit_largest']:.2g}; all {len(taps)} taps within theirs"
                f"{prompts}"
            )
        return f"emulated {self.unit.name}: {said}; {NOT_RUN}"

    def _overflow(self) -> str:
        if not self.beyond_range:
            return ""
        tap, count = next(iter(self.beyond_range.items()))
        more = f" and {len(self.beyond_range) - 1} more taps" if len(self.beyond_range) > 1 else ""
        return f"; {count} values of the product at {tap}{more} are beyond {self.unit.inputs.name}"

    def section(self, taps: Sequence[TapResult], *, within: bool) -> dict[str, Any]:
        """Return the section ``emulation`` of a verdict.

        Args:
            taps: Results in network order.
            within: Whether nothing failed.
        """
        return {
            "unit": self.unit.to_dict(),
            "within": within,
            "beyond_range": dict(self.beyond_range),
            "taps": [{"name": tap.name, **tap_prediction(tap)} for tap in taps],
        }


def tap_prediction(tap: TapResult) -> dict[str, float | None]:
    """Return the figures of a tap, None where there was nothing to compare.

    ``predicted`` and ``found`` are root mean squares of the error against the float64 oracle;
    ``limit`` is what ``found`` may be, and what a run on the device would be held to.
    ``largest`` is the largest difference from the reference, and ``limit_largest`` what an element
    of the usual deviation may be off.
    """
    if tap.accumulated is None or tap.deviation is None or tap.facts is None:
        return dict.fromkeys(("predicted", "found", "limit", "largest", "limit_largest"))
    errors = tap.accumulated.candidate
    return {
        "predicted": tap.deviation,
        "found": errors.absolute,
        "limit": errors.limit_rms * tap.deviation,
        "largest": tap.facts.max_abs,
        "limit_largest": errors.limit_peak * tap.deviation,
    }
