"""Where a tap is in a user's network, and the YAML file in which the user says so.

.. code-block:: yaml

    block.{i}.norm_1: blocks.{i}.ln1                              # what the cell returns
    block.{i}.residual: {cell: blocks.{i}.ln2, end: input}        # what it is given
    block.{i}.query: {cell: blocks.{i}.attn.qkv, part: [0, 3]}    # the first third of it
    block.{i}.scores: null                                        # not to be captured
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from mindport.migrate.architecture import Tap, at_layer
from mindport.migrate.errors import MindportError, did_you_mean

End = Literal["output", "input"]
_FIELDS = ("cell", "end", "index", "part")


@dataclass(frozen=True)
class Place:
    """A tensor that a cell returns or is given.

    Attributes:
        cell: Path of the cell; empty for the network itself.
        end: Whether it is returned or given.
        index: Which tensor of it, counted through nested tuples.
        part: Which of how many equal parts of the last axis.
    """

    cell: str
    end: End = "output"
    index: int = 0
    part: tuple[int, int] = (0, 1)

    def __str__(self) -> str:
        which = f"[{self.index}]" if self.index else ""
        part = f", part {self.part[0]} of {self.part[1]}" if self.part[1] > 1 else ""
        return f"{self.end}{which} of {self.cell or 'the network'}{part}"

    def to_yaml(self) -> Any:
        """Return it as :func:`read_places` reads it."""
        content: dict[str, Any] = {"cell": self.cell}
        if self.end != "output":
            content["end"] = self.end
        if self.index:
            content["index"] = self.index
        if self.part != (0, 1):
            content["part"] = list(self.part)
        return self.cell if len(content) == 1 else content

    @classmethod
    def from_yaml(cls, content: Any) -> Place:
        """Return what :meth:`to_yaml` gave."""
        if isinstance(content, str):
            return cls(content)
        number, parts = content.get("part", (0, 1))
        return cls(
            content["cell"], content.get("end", "output"), content.get("index", 0), (number, parts)
        )


def read_places(path: Path, taps: Sequence[Tap], layers: int) -> dict[str, Place | None]:
    """Read a mapping file.

    Args:
        path: The YAML file.
        taps: Of the head, with ``{i}``.
        layers: How many blocks there are.

    Returns:
        A place by the tap's full name; None for one that is not to be captured. A line for one
        block (``block.3.mlp``) goes before the one for all.

    Raises:
        MindportError: If the file cannot be read or understood; it names the line of the file.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MindportError(
            f"The taps file {path} cannot be read: {error.strerror or error}.",
            "Write one with: validate taps ARCHITECTURE --candidate FILE.py:FUNCTION -o FILE.yaml",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise MindportError(
            f"The taps file {path} is not YAML{where}: {said}.", "Write lines such as tap: cell."
        ) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise MindportError(
            f"The taps file {path} holds a {type(content).__name__}, not lines such as tap: cell."
        )
    known = {tap.name for tap in taps}
    everywhere: dict[str, Place | None] = {}
    single: dict[str, Place | None] = {}
    for name, value in content.items():
        place = _place(path, str(name), value)
        if name in known:
            for layer in range(layers) if "{i}" in name else (None,):
                everywhere[at_layer(name, layer)] = _fill(path, name, place, layer)
        elif any(name == at_layer(tap, i) for tap in known for i in range(layers)):
            single[name] = _fill(path, name, place, None)
        else:
            raise MindportError(
                f"{path}: there is no tap {name!r}.{did_you_mean(str(name), known)}"
            )
    return everywhere | single


def _place(path: Path, name: str, value: Any) -> Place | None:
    if value is None:
        return None
    if isinstance(value, str):
        return Place(value)
    if not isinstance(value, dict):
        raise MindportError(
            f"{path}: {name} is {value!r}, not a cell's path or {{cell: …, end: …, part: …}}."
        )
    for field in value:
        if field not in _FIELDS:
            raise MindportError(
                f"{path}: {name} has an unknown field {field!r}.{did_you_mean(str(field), _FIELDS)}"
            )
    cell, end, index = value.get("cell"), value.get("end", "output"), value.get("index", 0)
    part = value.get("part", [0, 1])
    if not isinstance(cell, str):
        raise MindportError(f"{path}: {name} names no cell.", "Write {cell: PATH, …}.")
    if end not in ("output", "input"):
        raise MindportError(
            f"{path}: {name}: end is {end!r}.{did_you_mean(str(end), ('output', 'input'))}"
        )
    if not _is_count(index):
        raise MindportError(f"{path}: {name}: index is {index!r}, not 0, 1, 2 …")
    if not (isinstance(part, list) and len(part) == 2 and all(map(_is_count, part))
            and part[0] < part[1]):  # fmt: skip
        raise MindportError(
            f"{path}: {name}: part is {part!r}.", "The second third, for example, is [1, 3]."
        )
    return Place(cell, end, index, (part[0], part[1]))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _fill(path: Path, name: str, place: Place | None, layer: int | None) -> Place | None:
    if place is None:
        return None
    cell = place.cell if layer is None else at_layer(place.cell, layer)
    if "{i}" in cell:
        raise MindportError(
            f"{path}: {name} is one tap, but its cell {place.cell!r} has {{i}} in it."
        )
    return Place(cell, place.end, place.index, place.part)


def check_cells(path: Path, places: Mapping[str, Place | None], calls: Mapping[str, int]) -> None:
    """Check the cells of a mapping file against a network.

    Args:
        path: The file.
        places: What it says.
        calls: How often each cell ran in one forward pass, by path.

    Raises:
        MindportError: If a cell does not exist, did not run, or ran more than once.
    """
    for name, place in places.items():
        if place is None:
            continue
        if place.cell not in calls:
            raise MindportError(
                f"{path}: {name}: the network has no cell {place.cell!r}."
                + _nearest(place.cell, calls)
            )
        count = calls[place.cell]
        if count != 1:
            raise MindportError(
                f"{path}: {name}: the cell {place.cell!r} ran {count} times in one forward pass.",
                "Its construct must be called once, as cell(x): a hook fires at a call.",
            )


def _nearest(cell: str, known: Collection[str]) -> str:
    guess = did_you_mean(cell, known)
    return guess if len(known) <= 60 else guess.partition(" Known: ")[0]


def write_places(title: str, places: Mapping[str, Place], taps: Sequence[Tap], layers: int) -> str:
    """Return a mapping file as text.

    Args:
        title: Of the first comment.
        places: By the tap's full name.
        taps: Of the head, with ``{i}``; those without a place are listed as comments.
        layers: How many blocks there are.
    """
    lines = [
        f"# {title}",
        "# tap: cell, or {cell: PATH, end: output or input, index: 0, part: [0, 3]}; null leaves"
        " a tap out.",
    ]
    for tap in taps:
        each = [places.get(at_layer(tap.name, i)) for i in range(layers if tap.per_layer else 1)]
        found = [place for place in each if place is not None]
        if not found:
            lines.append(f"# {tap.name}: not found; it is carried by the formula")
        elif not tap.per_layer:
            lines.append(_line(tap.name, found[0]))
        elif (pattern := _pattern(each)) is not None:
            lines.append(_line(tap.name, pattern))
        else:
            lines += [
                _line(at_layer(tap.name, i), place)
                for i, place in enumerate(each)
                if place is not None
            ]
    return "\n".join(lines) + "\n"


def _pattern(each: Sequence[Place | None]) -> Place | None:
    """Return one place with ``{i}`` for all, or None if there is none."""
    first = each[0]
    if first is None:
        return None
    parts = first.cell.split(".")
    for n, part in enumerate(parts):
        digits = part[len(part.rstrip("0123456789")) :]
        if digits != "0":
            continue
        cell = ".".join((*parts[:n], part[:-1] + "{i}", *parts[n + 1 :]))
        pattern = Place(cell, first.end, first.index, first.part)
        filled = [
            Place(at_layer(cell, i), first.end, first.index, first.part) for i in range(len(each))
        ]
        if filled == list(each):
            return pattern
    return None


def _line(name: str, place: Place) -> str:
    value = yaml.safe_dump(place.to_yaml(), default_flow_style=True, width=1000, sort_keys=False)
    return f"{name}: {value.partition(chr(10))[0]}"
