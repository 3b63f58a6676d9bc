"""Which tensor of a dump is which tap: by the user's word, or by the path of its module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mindport.migrate.architecture import Head, Tap, network_order
from mindport.migrate.computation import Project, Step, network_steps
from mindport.migrate.errors import MindportError
from mindport.validate.own.places import Place
from mindport.validate.recording.dumps.reading import Dump, Dumped

_SHOWN = 4


@dataclass(frozen=True)
class Matched:
    """Where taps are in a dump.

    Attributes:
        tensors: By tap, in network order.
        places: The same as a mapping file has it.
        notices: What was found out, and what was not found.
    """

    tensors: Mapping[str, Dumped]
    places: Mapping[str, Place]
    notices: tuple[str, ...]


def match_taps(dump: Dump, head: Head, layers: int, said: Mapping[str, Place | None]) -> Matched:
    """Find the taps of a head in a dump.

    A tap that the user does not speak of is looked for under its own name, and under the path
    that the architecture file gives for its module, behind one prefix that is the same for all.

    Args:
        dump: What there is.
        head: The head that ran.
        layers: How many blocks there are.
        said: What the user says; None for a tap that is to be left out.

    Raises:
        MindportError: If the user names what is not there, or the prefix cannot be told.
    """
    taps = network_order(head.taps, layers)
    available: dict[tuple[str, str, int], list[Dumped]] = {}
    for tensor in dump.tensors:
        available.setdefault((tensor.name, tensor.end, tensor.index), []).append(tensor)
    notices: list[str] = []
    proposed, prefix = _propose(taps, head, layers, available)
    if prefix:
        notices.append(f"the dump's module paths begin with {prefix!r}")
    places: dict[str, Place] = {}
    tensors: dict[str, Dumped] = {}
    for tap in taps:
        place = said[tap.name] if tap.name in said else proposed.get(tap.name)
        if place is None:
            continue
        found = available.get((place.cell, place.end, place.index))
        if not found:
            raise MindportError(
                f"{tap.name}: the dump has no {place}.",
                f"It has {_listed(sorted({t.name for t in dump.tensors}))}.",
            )
        places[tap.name] = place
        tensors[tap.name] = min(found, key=lambda tensor: tensor.call)
        if len(found) > 1:
            notices.append(
                f"{place.cell} was dumped {len(found)} times; the first is taken for {tap.name}"
            )
    guessed = [name for name in tensors if name not in said]
    if guessed:
        notices.append(f"{len(guessed)} taps were found by name: {_kinds(guessed)}")
    lost = [tap.name for tap in taps if tap.name not in tensors and tap.name not in said]
    if lost:
        notices.append(f"{len(lost)} taps were not found in the dump: {_kinds(lost)}")
    used = {(p.cell, p.end, p.index) for p in places.values()}
    unused = sorted({t.name for t in dump.tensors if (t.name, t.end, t.index) not in used}
                    - {p.cell for p in places.values()})  # fmt: skip
    if unused:
        notices.append(f"{len(unused)} names of the dump are no tap's: {_listed(unused)}")
    return Matched(tensors, places, tuple(notices))


def _propose(
    taps: Sequence[Tap], head: Head, layers: int, available: Mapping[tuple[str, str, int], object]
) -> tuple[dict[str, Place], str]:
    """Return a place for every tap that can be told, and what stands before the module paths."""
    bases = _module_places(taps, head, layers)
    names = {name for name, _, _ in available}
    prefixes = {""}
    for place in bases.values():
        short = place.cell.removeprefix(head.prefix)
        for name in names:
            for base in (place.cell, short):
                before = name.removesuffix(base)
                if before != name and (not before or before.endswith(".")):
                    prefixes.add(before)
    scored: dict[str, dict[str, Place]] = {}
    for prefix in prefixes:
        found = {}
        for tap, place in bases.items():
            here = Place(prefix + place.cell, place.end, place.index, place.part)
            if (here.cell, here.end, here.index) in available:
                found[tap] = here
        scored[prefix] = found
    # A body that was dumped alone has not the prefix that the head gives it.
    bare = {t: Place(p.cell.removeprefix(head.prefix), p.end, p.index, p.part)
            for t, p in bases.items()}  # fmt: skip
    scored["(body)"] = {t: p for t, p in bare.items() if (p.cell, p.end, p.index) in available}
    best = max(map(len, scored.values()))
    winners = {p: found for p, found in scored.items() if len(found) == best}
    if best and len({str(sorted(found.items(), key=str)) for found in winners.values()}) > 1:
        raise MindportError(
            f"The dump holds several networks ({', '.join(map(repr, sorted(winners)))}), and it "
            "cannot be told which is meant.",
            "Say so with --map FILE.",
        )
    prefix = min(winners) if best else ""
    by_name = {t.name: Place(t.name) for t in taps if (t.name, "output", 0) in available}
    return {**winners[prefix], **by_name}, "" if prefix == "(body)" else prefix


def _module_places(taps: Sequence[Tap], head: Head, layers: int) -> dict[str, Place]:
    """Return where the architecture file says that taps are; those of a softmax are nowhere."""
    steps: dict[str, Step] = {step.tap: step for step in network_steps(head.steps, layers)}
    found = {}
    for tap in taps:
        operation = steps[tap.name].operation if tap.name in steps else None
        if tap.module and tap.end in ("input", "output"):
            path = (head.prefix if tap.in_body else "") + tap.module
            found[tap.name] = Place(path, "input" if tap.end == "input" else "output", 0, tap.part)
        elif tap.output and isinstance(operation, Project) and operation.rows == "all":
            found[tap.name] = Place(operation.module, "output", 0, operation.part)
    return found


def _kinds(names: Sequence[str]) -> str:
    kinds = (".".join("{i}" if p.isdigit() else p for p in name.split(".")) for name in names)
    return ", ".join(dict.fromkeys(kinds))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
