"""``assert_parity``: a verdict as an assertion, whose message says where, why and by how much."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.migrate.progress import OnProgress
from mindport.validate.api import validate
from mindport.validate.diagnose.causes import CAUSES
from mindport.validate.report.summary import figure, identity_line, policy_line
from mindport.validate.request import Case
from mindport.validate.verdict import TapResult, Verdict

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mindport.validate.options import Options

_WIDTH = 17


class ParityError(AssertionError):
    """The candidate does not agree with the reference.

    Attributes:
        verdict: All that is known of it.
    """

    def __init__(self, verdict: Verdict, report: Path | None = None) -> None:
        super().__init__(explain(verdict, report))
        self.verdict = verdict


ParityError.__module__ = "mindport.validate"  # as a user knows it, in every traceback


def assert_parity(
    asked: str | Case,
    *,
    report: str | Path | None = None,
    on_progress: OnProgress | None = None,
    **options: Unpack[Options],
) -> Verdict:
    """Run both sides as :func:`mindport.validate.validate` does; return only if they agree.

    Args:
        asked: The name of an architecture, a case, or a request, which the options change.
        report: A folder for ``verdict.json`` and ``index.html``, whatever the verdict is.
        on_progress: Called with a :class:`Progress` whenever there is news.
        options: The fields of :class:`Request`.

    Raises:
        ParityError: If the verdict is anything but ``pass`` and ``not-run``.
        EnvironmentUnavailableError: If a side could not run.
        MindportError: If what is asked for is not usable.
    """
    verdict = validate(asked, on_progress=on_progress, **options)
    written = verdict.save(report)[-1] if report is not None else None
    if verdict.verdict == "not-run":
        reasons = [f"  | {line}" for r in verdict.not_run for line in r["last_lines"]]
        hints = [r["hint"] for r in verdict.not_run if r["hint"]]
        raise EnvironmentUnavailableError(
            "\n".join([f"not run: {verdict.headline}", *reasons]), "\n".join(hints)
        )
    if not verdict.passed:
        raise ParityError(verdict, written)
    return verdict


def explain(verdict: Verdict, report: Path | None = None) -> str:
    """Return in a few lines why a verdict is no pass: where, why, by how much, on what.

    Args:
        verdict: The verdict.
        report: What can be looked at for more, or None.
    """
    lines = [f"{verdict.architecture} {verdict.head}: {verdict.verdict}: {_in_short(verdict)}"]
    lines += [f"  {what:{_WIDTH}} {said}" for what, said in _facts(verdict)]
    if report is not None:
        lines.append(f"  {'report':{_WIDTH}} {report}")
    return "\n".join(lines)


def _in_short(verdict: Verdict) -> str:
    """Return what the first line says, of which pytest's summary shows the beginning."""
    tap = verdict.first_faulty
    if tap is None:
        return verdict.headline
    said = [tap.name, *([verdict.cause] if verdict.cause else []), *_excess(tap)]
    return ", ".join(said)


def _excess(tap: TapResult) -> list[str]:
    return [] if tap.used is None else [f"{figure(tap.used)} times what is allowed"]


def _facts(verdict: Verdict) -> Iterator[tuple[str, str]]:
    tap, cause = verdict.first_faulty, verdict.first_diagnosis
    if tap is not None:
        yield "verdict", verdict.headline
        wrong = sum(not t.ok for t in verdict.taps)
        yield "first faulty tap", f"{tap.name} ({wrong} of {len(verdict.taps)} taps are off)"
        if cause is not None:
            how = "confirmed" if cause.confirmed else f"explains {cause.explained:.0%} of it"
            yield "cause", f"{cause.cause} ({how}): {CAUSES[cause.cause]}: {cause.detail}"
        else:
            yield "cause", "none of the tested ones explains it"
        yield from _figures(tap)
    if verdict.policy:
        yield "tolerance", policy_line(verdict.policy)
    for side, identity in verdict.identity.items():
        yield side, identity_line(identity)
    if command := verdict.made.get("command"):
        yield "again", shlex.join(command)


def _figures(tap: TapResult) -> Iterator[tuple[str, str]]:
    for excess in _excess(tap):
        yield "excess", excess
    view = tap.isolated or tap.accumulated
    if view is not None:
        found = view.candidate
        yield "rms", f"{figure(found.rms)}, allowed {figure(found.limit_rms)}"
        place = list(found.worst_index)
        yield "max", f"{figure(found.peak)}, allowed {figure(found.limit_peak)}, at {place}"
        yield "", "(in units of the deviation that rounding predicts)"
    if tap.facts is not None:
        yield (
            "between the sides",
            f"max abs {figure(tap.facts.max_abs)}, cosine "
            + ("–" if tap.facts.cosine is None else f"{tap.facts.cosine:.7f}"),
        )
