"""Two verdicts on the same network: what became worse, what better, and what was changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mindport.migrate.errors import EXIT_FAIL, EXIT_PASS, MindportError
from mindport.validate.verdict import Verdict

Kind = Literal["worse", "better", "same"]

FACTOR = 1.5
_LEAST = 0.1  # of the tolerance: a smaller change in what is used is nothing to speak of
# What a reader wants most stands first.
_RANKS = {"pass": 0, "uninformative": 1, "fail": 2, "not-run": 3}


@dataclass(frozen=True)
class Move:
    """How one thing changed: a tap, or the gradient of a parameter.

    Attributes:
        name: Its name.
        kind: Whether it became worse.
        before: The share of its tolerance that was used; None where there are no figures.
        after: The same now.
        ratio: After by before; None where one is not known, or before is zero.
        why: In words, where the figures do not say it.
    """

    name: str
    kind: Kind
    before: float | None
    after: float | None
    ratio: float | None
    why: str = ""


@dataclass(frozen=True)
class Change:
    """A circumstance that is another one now."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Difference:
    """What two verdicts differ in.

    Attributes:
        status: The whole.
        before: Its verdict.
        after: The other's.
        taps: Those that changed or are in one of them alone, in network order.
        gradients: The same of parameters.
        flips: Items that now get another label than the reference's, and did not.
        unflipped: Items that did, and now get the reference's.
        changes: Versions, devices, weights, inputs … that are not the same.
        lost: What was judged and is no longer.
    """

    status: Kind
    before: str
    after: str
    taps: tuple[Move, ...]
    gradients: tuple[Move, ...]
    flips: tuple[str, ...]
    unflipped: tuple[str, ...]
    changes: tuple[Change, ...]
    lost: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 if anything is worse."""
        return EXIT_FAIL if self.status == "worse" else EXIT_PASS

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain values for JSON."""
        return {"schema": 1, **asdict(self)}


def compare_verdicts(before: Verdict, after: Verdict, factor: float = FACTOR) -> Difference:
    """Compare two verdicts.

    It is worse if the verdict is, a tap or gradient or label was right and is not, something that
    was judged no longer is, or a tap uses more than ``factor`` times as much of its tolerance, and
    a tenth of it more.

    Args:
        before: The earlier one.
        after: The later one.
        factor: From 1 up.

    Raises:
        MindportError: If they are about different networks.
    """
    for what in ("architecture", "head"):
        was, now = getattr(before, what), getattr(after, what)
        if was != now:
            raise MindportError(
                f"The verdicts are about different networks: {what} {was} and {now}.",
                "Compare two verdicts on the same architecture and head.",
            )
    taps = tuple(_moves(_tap_shares(before), _tap_shares(after), factor))
    gradients = tuple(_moves(_gradient_shares(before), _gradient_shares(after), factor))
    flipped, flips = _flips(before), _flips(after)
    both_asked = before.prompts is not None and after.prompts is not None
    new = sorted(name for name in flips if flips[name] != flipped.get(name)) if both_asked else []
    gone = sorted(flipped.keys() - flips.keys()) if both_asked else []
    lost = tuple(_lost(before, after))
    kinds = {move.kind for move in (*taps, *gradients)} | {_whole(before, after)}
    worse = "worse" in kinds or new or lost
    better = "better" in kinds or gone
    return Difference(
        status="worse" if worse else "better" if better else "same",
        before=before.verdict,
        after=after.verdict,
        taps=taps,
        gradients=gradients,
        flips=tuple(new),
        unflipped=tuple(gone),
        changes=tuple(_changes(before, after)),
        lost=lost,
    )


_Shares = Mapping[str, tuple[bool, float | None]]


def _tap_shares(verdict: Verdict) -> _Shares:
    return {tap.name: (tap.ok, tap.used) for tap in verdict.taps}


def _gradient_shares(verdict: Verdict) -> _Shares:
    results = verdict.gradients["parameters"] if verdict.gradients else ()
    return {result["parameter"]: (result["ok"], result["used"]) for result in results}


def _moves(before: _Shares, after: _Shares, factor: float) -> Iterator[Move]:
    if not before or not after:
        return  # said in `lost`, if it was there
    for name in [*before, *(name for name in after if name not in before)]:
        if name not in after:
            yield Move(name, "worse", before[name][1], None, None, "no longer compared")
        elif name not in before:
            kind: Kind = "same" if after[name][0] else "worse"
            yield Move(name, kind, None, after[name][1], None, "not compared before")
        else:
            yield from _move(name, before[name], after[name], factor)


def _move(
    name: str, before: tuple[bool, float | None], after: tuple[bool, float | None], factor: float
) -> Iterator[Move]:
    (right, was), (still, now) = before, after
    ratio = now / was if was and now is not None else None
    if right != still:
        why = "became faulty" if right else "is right again"
        yield Move(name, "worse" if right else "better", was, now, ratio, why)
    elif was is None or now is None:
        if was is not now:
            yield Move(name, "worse" if now is None else "better", was, now, None,
                       "has no figures" if now is None else "has figures again")  # fmt: skip
    elif abs(now - was) > _LEAST and max(now, was) > factor * min(now, was):
        yield Move(name, "worse" if now > was else "better", was, now, ratio)


def _flips(verdict: Verdict) -> dict[str, str]:
    flips = verdict.prompts["flips"] if verdict.prompts else ()
    return {flip["id"]: f"{flip['reference']} became {flip['candidate']}" for flip in flips}


def _whole(before: Verdict, after: Verdict) -> Kind:
    was, now = _rank(before), _rank(after)
    return "worse" if now > was else "better" if now < was else "same"


def _rank(verdict: Verdict) -> int:
    if verdict.verdict == "emulated":
        return _RANKS["fail" if verdict.exit_code else "pass"]
    return _RANKS[verdict.verdict]


def _lost(before: Verdict, after: Verdict) -> Iterator[str]:
    for what in ("taps", "gradients", "prompts"):
        if getattr(before, what) and not getattr(after, what):
            yield what


def _changes(before: Verdict, after: Verdict) -> Iterator[Change]:
    was, now = _circumstances(before), _circumstances(after)
    for what in [*was, *(what for what in now if what not in was)]:
        if was.get(what) != now.get(what):
            yield Change(what, was.get(what, "–"), now.get(what, "–"))


def _circumstances(verdict: Verdict) -> dict[str, str]:
    found = {"mindport": str(verdict.made.get("mindport", "–"))}
    for side, identity in verdict.identity.items():
        fields = ("framework", "version", "device", "dtype", "mode", "attention")
        found |= {f"{side} {name}": str(identity[name]) for name in fields}
        details = {n: v for n, v in identity["details"].items() if isinstance(v, (str, int))}
        found |= {f"{side} {name}": str(value) for name, value in details.items()}
        for name, digest in verdict.checkpoint[side]["files"].items():
            found[f"{side} weights {name}"] = digest[:12]
    if verdict.policy:
        found["tolerance"] = str(verdict.policy["name"])
    if verdict.accepted:
        found["accepted"] = ", ".join(accepted["name"] for accepted in verdict.accepted)
    for name, digest in verdict.inputs.get("sha256", {}).items():
        found[f"input {name}"] = digest[:12]
    if verdict.prompts:
        found["prompts"] = f"{verdict.prompts['task']}, {verdict.prompts['items']} items"
    return found
