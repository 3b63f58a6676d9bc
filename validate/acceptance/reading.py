"""A task file read and checked: every problem at once, each with its line and what was meant."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import MindportError, PlanError, did_you_mean
from mindport.prompts import task_names
from mindport.validate.acceptance.grammar import NEEDED, NEEDED_WITHIN, TABLES
from mindport.validate.acceptance.places import Key, find_lines
from mindport.validate.acceptance.task import (
    AXES,
    SCHEMA,
    VERDICTS,
    Performance,
    Rule,
    Show,
    Task,
)
from mindport.validate.devices import parse_device

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_SPELLINGS = {"config": "config_file"}
_LARGEST = 1 << 20  # bytes


def read_task(path: Path, folder: Path | None = None) -> Task:
    """Return what a task file asks for; nothing that it names need be there yet.

    Args:
        path: The file.
        folder: What its relative paths are relative to; by default where it lies.

    Raises:
        PlanError: With every problem of the file.
        MindportError: If it cannot be read, or asks for cells that cannot be.
    """
    text = _read(path)
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise MindportError(
            f"{path} is no TOML: {error}.", "Texts stand in quotes; see docs/acceptance.md."
        ) from None
    lines = find_lines(text)
    found = _problems(content, lines)
    problems = [f"line {line}: {said}" if line else said for line, said in found]
    if problems:
        raise PlanError(
            f"{path} cannot be used:", problems,
            "Correct it; `validate accept --template gpt2 example.toml` writes one with comments.",
        )  # fmt: skip
    task = _task(content, lines, folder or path.parent)
    try:
        task.cells()
    except MindportError as error:
        raise MindportError(f"{path}: {error.message}", error.hint) from None
    return task


def _read(path: Path) -> str:
    try:
        if path.is_dir():
            raise MindportError(f"{path} is a folder.", "Name the task file in it.")
        if path.stat().st_size > _LARGEST:
            raise MindportError(f"{path} is larger than a task file can be.", "Name another.")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MindportError(
            f"There is no {path}.", f"Write one: validate accept --template gpt2 {path}."
        ) from None
    except OSError as error:
        raise MindportError(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise MindportError(f"{path} is not UTF-8: {error.reason}.") from None


def _problems(content: Mapping[str, Any], lines: Mapping[Key, int]) -> Iterator[tuple[int, str]]:
    if content.get("schema") not in (None, SCHEMA):
        yield (
            lines.get(("", 0, "schema"), 0),
            f"schema = {content['schema']!r}; this mindport reads schema {SCHEMA}",
        )
        return
    top = {key: value for key, value in content.items() if not isinstance(value, (dict, list))}
    yield from _in_table("", 0, top, lines)
    for name, table in content.items():
        if name in top:
            continue
        if name not in TABLES or not name:
            known = [known for known in TABLES if known]
            yield lines.get((name, 0, ""), 0), f"[{name}] is unknown.{did_you_mean(name, known)}"
        elif (name == "cell") != isinstance(table, list):
            form = "[[cell]], one for each exception" if name == "cell" else f"[{name}], once"
            yield lines.get((name, 0, ""), 0), f"write {form}"
        elif name == "cell":
            for place, each in enumerate(table):
                yield from _in_table(name, place, each, lines)
                yield from _in_cell(place, each, lines)
        else:
            yield from _in_table(name, 0, table, lines)
    for name, key in NEEDED:
        table = content.get(name, {}) if name else content
        if isinstance(table, dict) and key not in table:
            where = f"[{name}] {key}" if name else key
            yield lines.get((name, 0, ""), 0), f"{where} is missing"
    for name, key in NEEDED_WITHIN:
        if isinstance(content.get(name), dict) and key not in content[name]:
            yield lines.get((name, 0, ""), 0), f"[{name}] {key} is missing"
    yield from _names(content, lines)


def _in_table(
    name: str, place: int, table: Any, lines: Mapping[Key, int]
) -> Iterator[tuple[int, str]]:
    known, head = TABLES[name], f"[[{name}]] " if name == "cell" else f"[{name}] " if name else ""
    if not isinstance(table, dict):
        yield lines.get((name, place, ""), 0), f"{head}must be a table"
        return
    for key, value in table.items():
        line = lines.get((name, place, key), lines.get((name, place, ""), 0))
        if key not in known:
            yield line, f"{head}{key} is unknown.{did_you_mean(key, known)}"
        elif wrong := known[key](value):
            space = "" if wrong.startswith("[") else " "
            yield line, f"{head}{key}{space}{wrong}"


def _in_cell(place: int, table: Any, lines: Mapping[Key, int]) -> Iterator[tuple[int, str]]:
    if not isinstance(table, dict):
        return
    line = lines.get(("cell", place, ""), 0)
    if not set(table) & set(AXES):
        yield line, f"[[cell]] does not say which cells; name one of {', '.join(AXES)}"
    if not set(table) - set(AXES):
        yield line, "[[cell]] says nothing of its cells: may_be_absent, capture, leave_out …"


def _names(content: Mapping[str, Any], lines: Mapping[Key, int]) -> Iterator[tuple[int, str]]:
    """Yield words that are known only together with others."""
    model, prompts = content.get("model"), content.get("prompts")
    tolerance = content.get("tolerance")
    if isinstance(model, dict) and not TABLES["model"]["architecture"](model.get("architecture")):
        architecture = load_architecture(model["architecture"])
        heads = model.get("heads")
        for head in heads if isinstance(heads, list) else ():
            if head not in architecture.heads:
                said = did_you_mean(str(head), architecture.heads)
                yield lines.get(("model", 0, "heads"), 0), f"[model] heads: {head!r}.{said}"
        size = model.get("size")
        if isinstance(size, str) and size not in architecture.sizes:
            said = did_you_mean(size, architecture.sizes)
            yield lines.get(("model", 0, "size"), 0), f"[model] size is {size!r}.{said}"
        tasks = prompts.get("tasks") if isinstance(prompts, dict) else None
        if tasks and isinstance(heads, list) and not any(
            head in architecture.heads and architecture.heads[head].prompts for head in heads
        ):  # fmt: skip
            able = ", ".join(h.name for h in architecture.heads.values() if h.prompts)
            yield (
                lines.get(("prompts", 0, "tasks"), 0),
                f"[prompts] none of the heads predicts words; these do: {able}",
            )
    tasks = prompts.get("tasks") if isinstance(prompts, dict) else None
    for task in tasks if isinstance(tasks, list) else ():
        if isinstance(task, str) and task not in task_names() and not _is_file(task):
            said = did_you_mean(task, task_names())
            yield lines.get(("prompts", 0, "tasks"), 0), f"[prompts] tasks: {task!r}.{said}"
    if isinstance(tolerance, dict) and "policy" in tolerance and set(tolerance) & {"atol", "rtol"}:
        yield (
            lines.get(("tolerance", 0, "policy"), 0),
            "[tolerance] has a policy, and atol or rtol: leave out one of the two",
        )


def _is_file(task: str) -> bool:
    return "/" in task or task.endswith((".yaml", ".yml", ".json", ".toml"))


def _task(content: Mapping[str, Any], lines: Mapping[Key, int], folder: Path) -> Task:
    model, run = content["model"], content["run"]
    prompts, show = content.get("prompts", {}), content.get("show", {})
    options = {
        _SPELLINGS.get(key, key): tuple(value) if isinstance(value, list) else value
        for table in ("model", "case", "tolerance")
        for key, value in content.get(table, {}).items()
        if key not in ("architecture", "heads")
    }
    options |= {
        name: prompts[key]
        for key, name in (("limit", "prompt_limit"), ("shots", "shots"))
        if key in prompts
    }
    return Task(
        name=content["name"],
        architecture=model["architecture"],
        heads=tuple(model["heads"]),
        backends=tuple(run["backends"]),
        devices=tuple(dict.fromkeys(str(parse_device(name)) for name in run["devices"])),
        modes=tuple(run["modes"]),
        dtypes=tuple(run["dtypes"]),
        prompts=tuple(prompts.get("tasks", ())),
        options=options,
        own=content.get("own", {}),
        gradients=content.get("gradients", {}).get("check", False),
        performance=Performance(**content["performance"]) if "performance" in content else None,
        show=Show(**show),
        keep=content.get("keep", VERDICTS),
        rules=tuple(
            _rule(table, lines.get(("cell", place, ""), 0))
            for place, table in enumerate(content.get("cell", ()))
        ),
        folder=folder,
    )


def _rule(table: Mapping[str, Any], line: int) -> Rule:
    where = {key: value for key, value in table.items() if key in AXES}
    settings = {
        {"leave_out": "left_out"}.get(key, key): value
        for key, value in table.items()
        if key not in AXES
    }
    return Rule(where, settings, line)
