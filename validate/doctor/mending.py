"""The command lines that mend what was found."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from mindport.validate.doctor.compatibility import Table
from mindport.validate.doctor.environment import Facts
from mindport.validate.doctor.finding import Finding, Job
from mindport.validate.doctor.managed import BUILD

TORCH_NOTE = (
    "On Linux a plain install of torch takes the build with CUDA; for the CPU build choose CPU in "
    "the selector at https://pytorch.org/get-started/locally/ and use its line for torch."
)
_TOGETHER = ("torch", "mindspore")  # these two share an environment, MindNLP needs its own


def install_lines(
    findings: Sequence[Finding], facts: Facts, table: Table, job: Job | None, home: str = ""
) -> tuple[str, ...]:
    """Return the command lines that mend what is broken, or may break.

    Args:
        findings: What was found.
        facts: Of the interpreter.
        table: Of what fits what.
        job: What is to run; None mends torch and MindSpore together, and MindNLP, if it is there.
        home: The environment of ours that the interpreter belongs to, which is built anew and not
            patched; empty for none.
    """
    wrong = [f for f in findings if f.mend and f.verdict in ("broken", "warning")]
    if home:
        return (f"{BUILD} {home} --force",) if wrong else ()
    built = [pin.partition(":")[2] for f in wrong for pin in f.mend if pin.startswith("env:")]
    wrong = [f for f in wrong if not any(pin.startswith("env:") for pin in f.mend)]
    return (*(f"{BUILD} {name}" for name in built), *_pip_lines(wrong, facts, table, job))


def _pip_lines(
    wrong: Sequence[Finding], facts: Facts, table: Table, job: Job | None
) -> tuple[str, ...]:
    if job is not None:
        return _mend([f for f in wrong if f.about(job)], facts, table, (job.backend,))
    lines = list(_mend([f for f in wrong if not f.concerns or set(f.concerns) & set(_TOGETHER)],
                       facts, table, _TOGETHER))  # fmt: skip
    if facts.installed("mindnlp"):
        alone = _mend([f for f in wrong if f.concerns == ("mindnlp",)], facts, table, ("mindnlp",))
        lines += [line for line in alone if line not in lines]
    return tuple(lines)


def _mend(
    wrong: Sequence[Finding], facts: Facts, table: Table, backends: tuple[str, ...]
) -> tuple[str, ...]:
    wishes = list(dict.fromkeys(pin for finding in wrong for pin in finding.mend))
    python = next((w.partition(":")[2] for w in wishes if w.startswith("python:")), "")
    # MindNLP's MindSpore must not replace the one that other work in this environment uses.
    own = "stack:mindnlp" in wishes and not _fits_mindnlp(facts, table)
    if python or own:
        # A Python cannot be exchanged in place: a new environment, with all that is needed.
        python = python or table.stacks["mindnlp"].python
        folder = f"{backends[0] if len(backends) == 1 else 'mindport'}-env"
        pins = [pin for name in backends for pin in table.stacks[name].pins]
        interpreter = f"{folder}/bin/python"
        return (
            f"python{python} -m venv {folder}",
            f"{interpreter} -m pip install {_quoted(_first_of_each(pins))} mindport",
        )
    interpreter = shlex.quote(str(facts.python["executable"]))
    lines = []
    gone = [w.partition(":")[2] for w in wishes if w.startswith("uninstall:")]
    again = [w.partition(":")[2] for w in wishes if w.startswith("reinstall:")]
    plain = tuple(w for w in wishes if not re.match(r"(uninstall|reinstall|python):", w))
    if gone:
        lines.append(f"{interpreter} -m pip uninstall -y {_quoted(gone)}")
    if again:
        lines.append(f"{interpreter} -m pip install --force-reinstall --no-deps {_quoted(again)}")
    if pins := _first_of_each(table.pins(plain)):
        lines.append(f"{interpreter} -m pip install {_quoted(pins)}")
    return tuple(lines)


def _fits_mindnlp(facts: Facts, table: Table) -> bool:
    """Whether the set of MindNLP leaves the MindSpore that is installed, or one like it."""
    installed = facts.installed("mindspore")
    if installed is None:
        return True
    pin = next(p for p in table.stacks["mindnlp"].pins if p.startswith("mindnlp=="))
    versions = {"mindnlp": pin.partition("==")[2], "mindspore": installed.version}
    topic = next(f for f in table.judge(versions) if f.id == "mindnlp-mindspore")
    return topic.verdict == "ok"


def _first_of_each(pins: Iterable[str]) -> list[str]:
    chosen: dict[str, str] = {}
    for pin in pins:
        name = re.split(r"[<>=!~]", pin)[0].replace("_", "-").lower()
        chosen.setdefault(name, pin)
    return list(chosen.values())


def _quoted(pins: Iterable[str]) -> str:
    return " ".join(shlex.quote(pin) for pin in pins)
