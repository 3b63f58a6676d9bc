"""Read a map file: our own YAML form, or TroubleShooter's JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mindport.migrate.errors import MindportError, PlanError, did_you_mean
from mindport.migrate.mapping.weight_map import EXTRAS, MapRule, WeightMap, letters

SCHEMA = 1
_TOP = ("schema", "tensors", "drop")
_KEYS = ("source", "target", "transpose", "split", "fuse", "tie", "ambiguous", "candidates")
_CUT = ("axis", "heads")


def read_map(path: Path) -> WeightMap:
    """Return what a map file says.

    Args:
        path: Our YAML, or the JSON that TroubleShooter's ``get_weight_map`` writes: a list of
            names by name, and of functions that convert values by name. No function is called
            or imported: the one that TroubleShooter has is known by its name.

    Raises:
        MindportError: If it cannot be read; with every problem if it says what makes no sense.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            content = json.loads(text, object_pairs_hook=_once)
        else:
            content = yaml.load(text, _Loader)  # noqa: S506 (a safe loader)
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise MindportError(f"{path} cannot be read as a map: {said}.") from None
    problems: list[str] = []
    if isinstance(content, list):
        made = _of_troubleshooter(path.name, content, problems)
    else:
        made = _of_ours(path.name, content, problems)
    if problems:
        raise PlanError(
            f"{path} is no map file: {len(problems)} problem{'s' * (len(problems) > 1)}.",
            problems,
            "docs/mapping.md has the form.",
        )
    return made


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} stands in it twice")
    return made


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would keep the last."""


def _construct(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    return _once([(loader.construct_object(key, deep=True), loader.construct_object(value, True))
                  for key, value in node.value])  # fmt: skip


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct)


def _of_troubleshooter(name: str, content: list[Any], problems: list[str]) -> WeightMap:
    if len(content) != 2 or not all(isinstance(one, dict) for one in content):
        problems.append("a list is TroubleShooter's form: [names by name, functions by name]")
        return WeightMap(name, (), {})
    names, functions = content
    rules = []
    for source, target in names.items():
        function = functions.get(source)
        if not isinstance(target, str):
            problems.append(f"{source}: its target is {target!r}, not a name")
        elif function is not None and function not in EXTRAS:
            problems.append(f"{source}: there is no conversion {function!r} here")
        else:
            extra = EXTRAS.get(function)
            rules.append(MapRule((source,), (target,), source, extra=extra))
    problems += [f"{source}: converted, but not named" for source in functions.keys() - names]
    return WeightMap(name, tuple(rules), {})


def _of_ours(name: str, content: Any, problems: list[str]) -> WeightMap:
    if not isinstance(content, dict):
        problems.append("it has no fields; `tensors:` is needed")
        return WeightMap(name, (), {})
    problems += [f"there is no field {key!r}.{did_you_mean(str(key), _TOP)}"
                 for key in content if key not in _TOP]  # fmt: skip
    if content.get("schema", SCHEMA) != SCHEMA:
        problems.append(f"schema {content['schema']!r}; this mindport reads schema {SCHEMA}")
    rules = []
    for number, entry in enumerate(_list(content, "tensors", problems), 1):
        found: list[str] = []
        rule = _rule(entry, f"entry {number}", found)
        problems += found
        if rule is not None and not found:
            rules.append(rule)
    dropped = {}
    for number, entry in enumerate(_list(content, "drop", problems), 1):
        if isinstance(entry, dict) and entry.keys() == {"source", "reason"}:
            dropped[str(entry["source"])] = str(entry["reason"])
        else:
            problems.append(f"drop {number}: a `source` and a `reason` are needed")
    return WeightMap(name, tuple(rules), dropped)


def _list(content: Mapping[str, Any], key: str, problems: list[str]) -> list[Any]:
    value = content.get(key) or []
    if not isinstance(value, list):
        problems.append(f"{key} is not a list")
        return []
    return value


def _rule(entry: Any, where: str, problems: list[str]) -> MapRule | None:
    if not isinstance(entry, dict):
        problems.append(f"{where}: a `source` and a `target` are needed")
        return None
    for key in entry:
        if key not in _KEYS:
            problems.append(f"{where}: there is no field {key!r}.{did_you_mean(str(key), _KEYS)}")
    sources = _names(entry.get("source"), f"{where}: source", problems)
    targets = _names(entry.get("target"), f"{where}: target", problems)
    if not sources or not targets:
        return None
    flags = {key: entry.get(key, False) for key in ("transpose", "tie", "ambiguous")}
    problems += [f"{where}: {k} is {v!r}, not true or false"
                 for k, v in flags.items() if not isinstance(v, bool)]  # fmt: skip
    if len({letters(name) for name in (*sources, *targets)}) > 1:
        problems.append(f"{where}: not all names have the same numbers, such as {{i}}")
    needed = "split" if len(targets) > 1 else "fuse" if len(sources) > 1 else ""
    if min(len(sources), len(targets)) > 1:
        problems.append(f"{where}: several sources and several targets; make a rule of each")
        needed = ""
    given = [key for key in ("split", "fuse", "tie") if entry.get(key)]
    if given != ([needed] if needed else []) and not (needed and given == ["tie"]):
        problems.append(
            f"{where}: {needed or 'neither split, fuse nor tie'} is needed for {len(sources)} to "
            f"{len(targets)}, not {' and '.join(given) or 'nothing'}"
        )
        return None
    cut = _cut(entry[needed], f"{where}: {needed}", problems) if needed in given else {}
    candidates = tuple(map(str, entry.get("candidates") or ()))
    return MapRule(
        sources, targets, where, flags["transpose"], cut.get("axis"), cut.get("heads", 0),
        flags["tie"], None, (candidates or ("none",)) if flags["ambiguous"] else (),
    )  # fmt: skip


def _names(value: Any, where: str, problems: list[str]) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name for name in names):
        problems.append(f"{where} is {value!r}, not a name or a list of names")
        return ()
    return tuple(names)


def _cut(value: Any, where: str, problems: list[str]) -> dict[str, int]:
    fits = isinstance(value, dict) and "axis" in value and set(value) <= set(_CUT)
    if not fits or not all(type(number) is int and number >= 0 for number in value.values()):
        problems.append(f"{where} is {value!r}; it should be like {{axis: 0}} or "
                        "{axis: 0, heads: 12}")  # fmt: skip
        return {}
    return dict(value)
