"""The outcome for a pull request: Markdown, from the summary alone."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mindport.validate.acceptance.folder import REFERENCES
from mindport.validate.acceptance.references import reference_name
from mindport.validate.acceptance.task import AXES, CAPTURES, Cell, Task
from mindport.validate.provenance import option_words
from mindport.validate.recording.order import SETTLED
from mindport.validate.report.forms.markdown import plain_text
from mindport.validate.report.summary import share
from mindport.validate.request import Request

WORDS = {"pass": "pass", "fail": "FAIL", "not-run": "not run"}


def render_markdown(task: Task, content: Mapping[str, Any]) -> str:
    """Return the summary as Markdown.

    Args:
        task: The task.
        content: What ``summary.json`` holds.
    """
    lines = [
        f"## {content['outcome'].upper()}: {plain_text(content['name'])}",
        "",
        plain_text(content["headline"]),
        "",
        "| cell | | tolerance used | time | what ran |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(_row(cell))} |" for cell in content["cells"]),
        *(
            f"| {plain_text(out['name'])} | left out | | | {plain_text(out['reason'])} |"
            for out in content["left_out"]
        ),
        "",
        *_open(content),
        *_elsewhere(task, content),
        *_hashes(content),
    ]
    if content["signed_off"]:
        lines += [
            content["signed_off"]["statement"],
            "",
            f"Signed-off-by: {plain_text(content['signed_off']['by'])}",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _row(cell: Mapping[str, Any]) -> tuple[str, ...]:
    ratio, used = cell["ratio"], cell["most_used"]
    status = WORDS[cell["status"]] + (
        " (may be absent)" if cell["may_be_absent"] and cell["status"] == "not-run" else ""
    )
    return (
        plain_text(cell["name"]),
        status,
        share(used["share"]) if used else "–",
        f"{ratio:.2f} x" if ratio is not None else "–",
        plain_text(cell["ran"].get("candidate", "nothing")),
    )


def _open(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield every demand that was not met."""
    found = [
        f"- {plain_text(cell['name'])}, {check['what']}: {WORDS[check['status']]}. "
        f"{plain_text(check['said'])}"
        for cell in content["cells"]
        for check in cell["checks"]
        if check["status"] != "pass"
    ]
    if found:
        yield from ("### What does not stand", "", *found, "")


def _elsewhere(task: Task, content: Mapping[str, Any]) -> Iterator[str]:
    """Yield how a cell that did not run is recorded where its device is."""
    absent = {
        cell["name"]
        for cell in content["cells"]
        if cell["verdict"]["status"] == "not-run" and cell["device"] != "CPU"
    }
    for cell in task.cells():
        if cell.name in absent:
            commands = record_elsewhere(task, cell)
            name = plain_text(cell.name)
            yield from (f"{name} can be recorded where the device is:", "", "```sh")
            yield from (shlex.join(words) for words in commands)
            where = "\n".join(f"{axis} = {json.dumps(getattr(cell, axis))}" for axis in AXES
                              if getattr(cell, axis))  # fmt: skip
            yield from ("```", "", "and named in the task:", "", "```toml", "[[cell]]", where)
            yield from (f'capture = "{cell.name}"', "```", "")


def record_elsewhere(task: Task, cell: Cell) -> list[tuple[str, ...]]:
    """Return the commands that make the case of a cell, and that record the cell on it.

    Args:
        task: The task.
        cell: One of its cells.
    """
    request = task.request(replace(cell, capture=""), resolved=False)
    case = f"{REFERENCES}/{reference_name(cell)}" if task.keep == CAPTURES else "case"
    usual = Request(task.architecture)
    settled = ("checkpoint", *SETTLED)
    made = replace(usual, **{name: getattr(request, name) for name in settled})
    ran = replace(request, **{name: getattr(usual, name) for name in SETTLED})
    first = ("validate", "case", task.architecture, *option_words(made, usual), "-o", "case")
    second = ("validate", "record", task.architecture, "--case", case,
              *option_words(_recordable(ran, usual), usual), "-o", cell.name)  # fmt: skip
    return [second] if task.keep == CAPTURES else [first, second]


def _recordable(request: Request, usual: Request) -> Request:
    """Return a request without what judges and does not run."""
    judging = ("policy", "atol", "rtol", "accept", "reference_dtype")
    return replace(request, **{name: getattr(usual, name) for name in judging})


def _hashes(content: Mapping[str, Any]) -> Iterator[str]:
    made = content["made"]
    weights = {digest: name for cell in content["cells"] for name, digest in _weights(cell).items()}
    versions = ", ".join(f"{name} {value}" for name, value in made["versions"].items())
    yield from (
        "<details><summary>Hashes (sha256) and versions</summary>", "",
        f"- task: `{content['task']['sha256']}`",
        *(f"- {plain_text(name)}: `{digest}`" for digest, name in weights.items()),
        f"- mindport {made['mindport']}, its code: `{made['code']}`",
        f"- {plain_text(versions)}; {plain_text(made['platform'])}; {made['at']}", "",
        "</details>", "",
    )  # fmt: skip


def _weights(cell: Mapping[str, Any]) -> dict[str, str]:
    return {
        f"{side} {name}": digest
        for side, files in cell["checkpoints"].items()
        for name, digest in files.items()
    }
