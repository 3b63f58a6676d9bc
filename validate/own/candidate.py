"""A port of the user's own in the pipeline: what it is given, and what its verdict says more."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from mindport.migrate.architecture import Head, network_order
from mindport.migrate.errors import CheckpointError, MindportError
from mindport.migrate.porting import Prepared, port
from mindport.validate.capture import Capture
from mindport.validate.case import tap_kinds
from mindport.validate.checkpoints import Candidate
from mindport.validate.formula.weights import ROUNDED
from mindport.validate.own.contents import Fingerprint, Whereabouts, fingerprint, locate
from mindport.validate.own.factory import find_factory
from mindport.validate.own.places import read_places
from mindport.validate.verdict import TapResult, Verdict

BACKEND = "cell"
_SHOWN = 4
_GROSS = 0.05  # an error that no output could survive, as a share of the tap's size
_TRIALS = 8  # kinds of taps that are set aside one after the other


def own_backend(
    candidate: str | None, taps_file: Path | None, backend: str, mode: str, default: str
) -> str:
    """Return the backend that runs a candidate.

    Args:
        candidate: ``FILE.py:FUNCTION``, or None.
        taps_file: The mapping file, or None.
        backend: The one asked for.
        mode: The mode asked for.
        default: The backend when none is asked for.

    Raises:
        MindportError: If the candidate cannot be run so, or its file does not exist.
    """
    if candidate is None:
        if taps_file is not None or backend == BACKEND:
            asked = "--taps" if taps_file is not None else f"--backend {BACKEND}"
            raise MindportError(
                f"{asked} is for a network of your own, and none is named.",
                "Name it with --candidate FILE.py:FUNCTION.",
            )
        return backend
    if backend not in (default, BACKEND):
        raise MindportError(
            f"--candidate is a MindSpore network; --backend {backend} runs something else.",
            "Leave out --backend.",
        )
    if mode != "eager":
        raise MindportError(
            f"A port of your own is read with forward hooks, which do not fire in {mode} mode.",
            "Leave out --mode: what is right in eager mode computes the same in a graph.",
        )
    find_factory(candidate)
    return BACKEND


def own_files(candidate: str | None, taps_file: Path | None) -> tuple[str, str]:
    """Return the factory and the taps file as a run names them; empty for none."""
    if candidate is None:
        return "", ""
    return str(find_factory(candidate)), str(taps_file.absolute()) if taps_file else ""


def own_weights(
    prepared: Prepared, given: Path | None, taps_file: Path | None, work: Path
) -> Candidate:
    """Return what the factory is given as ``checkpoint``; leave the config in the case folder.

    Args:
        prepared: The plan of the reference's port.
        given: Any file or folder of the user's, or None to port the reference's weights.
        taps_file: The user's mapping, which is checked as far as it can be without the network.
        work: Where to write.

    Raises:
        MindportError: If there is nothing at the path, or the mapping is not usable.
    """
    plan = prepared.plan
    if taps_file is not None:
        read_places(taps_file, plan.head.taps, plan.config[plan.architecture.layers])
    case = work / "case"
    case.mkdir(parents=True, exist_ok=True)
    (case / "config.json").write_text(json.dumps(dict(prepared.config)), encoding="utf-8")
    if given is None:
        return Candidate(port(prepared, work / "candidate"), (), "ported on the fly")
    if not given.exists():
        raise CheckpointError(f"There is no {given}.", "Give --candidate-checkpoint what exists.")
    return Candidate(given, (), str(given))


def final_taps(head: Head, layers: int) -> tuple[str, ...]:
    """Return the taps that any port must have: what the network returns."""
    taps = network_order(head.taps, layers)
    return tuple(tap.name for tap in taps if tap.output) or (taps[-1].name,)


class Narrowed(Capture):
    """A capture without some of its taps.

    Args:
        folder: Where it lies.
        hidden: Names of taps that it is not to have.
    """

    def __init__(self, folder: Path, hidden: Collection[str]) -> None:
        super().__init__(folder)
        self._hidden = frozenset(hidden)
        kept = tuple(name for name in self.manifest.taps if name not in self._hidden)
        self.manifest = replace(self.manifest, taps=kept)

    @property
    def stored_taps(self) -> frozenset[str]:
        """Names of the taps that are left."""
        return super().stored_taps - self._hidden


def compare_own(
    capture: Capture,
    required: Collection[str],
    compare: Callable[[Capture], tuple[TapResult, ...]],
) -> tuple[tuple[TapResult, ...], Capture, tuple[str, ...]]:
    """Compare a port, and set aside proposed taps that turn out to be something else.

    If the outputs agree with the oracle, no tap on the way can be far off; one that is was proposed
    wrongly (a fused matrix in another order, say), and is none of the port's faults. A tap from
    the user's own file is never set aside, nor is a small error.

    Args:
        capture: The port's.
        required: The final taps.
        compare: Compares a capture with the reference.

    Returns:
        The results, the capture that they are of, and the taps that were set aside.
    """
    results = compare(capture)
    proposed = set(capture.notes().get("proposed", ()))
    hidden: list[str] = []
    for _ in range(_TRIALS):
        finals = [tap for tap in results if tap.name in required]
        if not finals or any(not _outputs_agree(tap) for tap in finals):
            break
        wrong = next(
            (t.name for t in results if t.name in proposed and t.own_fault and _is_gross(t)), None
        )
        if wrong is None:
            break
        hidden += [n for n in proposed if tap_kinds([n]) == tap_kinds([wrong]) and n not in hidden]
        proposed -= set(hidden)
        capture = Narrowed(capture.folder, hidden)
        results = compare(capture)
    return results, capture, tuple(hidden)


def _outputs_agree(tap: TapResult) -> bool:
    return tap.accumulated is not None and tap.accumulated.candidate.ok


def _is_gross(tap: TapResult) -> bool:
    if tap.isolated is None or tap.facts is None or not tap.facts.reference_rms:
        return False
    return tap.isolated.candidate.absolute > _GROSS * tap.facts.reference_rms


def whereabouts(prepared: Prepared, capture: Capture, dtype: str) -> Whereabouts:
    """Return which of the reference's tensors the port does not have, and what it has instead.

    Args:
        prepared: The plan of the reference's port.
        capture: The port's.
        dtype: Of the run.
    """
    reader = prepared.source.reader
    tensors = {
        entry.source: fingerprint(reader.read(entry.source).astype(ROUNDED[dtype]))
        for entry in prepared.plan.entries
        if entry.action == "ported"
    }
    stored = capture.notes()["parameters"]
    return locate(tensors, {name: Fingerprint.from_dict(p) for name, p in stored.items()})


def own_notices(
    capture: Capture,
    case_taps: Sequence[str],
    where: Whereabouts,
    set_aside: Sequence[str],
) -> tuple[str, ...]:
    """Return what a reader of the verdict should know of a port of the user's own.

    Args:
        capture: The port's.
        case_taps: All taps of the case.
        where: From :func:`whereabouts`.
        set_aside: Proposed taps that were not used after all.
    """
    notes = capture.notes()
    said = list(notes["notices"])
    used = [name for name in notes["proposed"] if name not in set_aside]
    if used:
        said.append(
            f"{len(used)} taps were found by proposal: {tap_kinds(used)}; `validate taps` writes "
            "down where, and --taps takes it corrected"
        )
    if set_aside:
        said.append(
            f"the outputs agree, so these proposed taps are something else and were set aside: "
            f"{tap_kinds(set_aside)}; name the right cells with --taps"
        )
    absent = [n for n in case_taps if n not in capture.manifest.taps and n not in set_aside]
    if absent:
        said.append(
            f"{len(absent)} taps were not found in your network and are carried by the formula: "
            f"{tap_kinds(absent)}"
        )
    if where.nowhere:
        said.append(_lost(where) + _instead(where))
    return tuple(said)


def _lost(where: Whereabouts) -> str:
    names = where.nowhere
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    plural = "tensors" if len(names) > 1 else "tensor"
    are = "are" if len(names) > 1 else "is"
    return (
        f"{len(names)} {plural} of the checkpoint {are} nowhere in your network "
        f"({', '.join(names[:_SHOWN])}{more})"
    )


def _instead(where: Whereabouts) -> str:
    names = where.foreign
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (
        f"; of its parameters, {len(names)} hold values that are not the checkpoint's "
        f"({', '.join(names[:_SHOWN])}{more})"
    )


def with_lost_weights(verdict: Verdict, where: Whereabouts) -> Verdict:
    """Return the verdict, headed by the tensors that are nowhere if taps have failed."""
    if verdict.first_faulty_tap is None or not where.nowhere:
        return verdict
    return replace(verdict, headline=f"{_lost(where)}; {verdict.headline}")
