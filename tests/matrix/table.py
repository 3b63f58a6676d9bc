"""The matrix as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tests.matrix.cells import MODES, Cell, Column
from tests.matrix.gather import Found, Matrix, Row

_NAMES = {"torch": "torch", "mindspore": "MindSpore"}
_DETAILS = {"transformers": "transformers", "mindnlp": "MindNLP", "numpy": "NumPy"}


def render(matrix: Matrix, why: Callable[[str, str], str]) -> str:
    """Return the tables: the environments, the cells, and the notes to these.

    Args:
        matrix: What was gathered.
        why: Given a row and a cell, says why that may be other than a pass.
    """
    notes = _Notes()
    cells = _cells_table(matrix, notes, why)
    parts = [_environments_table(matrix), cells, notes.lines()]
    return "\n\n".join(part for part in parts if part)


class _Notes:
    """Numbers texts as they come, equal ones once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers) + 1)

    def lines(self) -> str:
        return "\n".join(f"{number}. {text}" for text, number in self._numbers.items())


def _environments_table(matrix: Matrix) -> str:
    head = ("environment", "candidate", "reference", "pass", "fail", "not run", "install, min",
            "run, min", "load")  # fmt: skip
    lines = [("parity-reference", "", "all that follow are held to it", "", "", "",
              *_cost(matrix.cost))]  # fmt: skip
    for row in matrix.rows:
        if row.state != "recorded":
            lines.append((row.name, f"{row.state}: {row.says}", *[""] * 7))
            continue
        counts = Counter(found.status for found in row.cells.values())
        figures = (str(counts[status]) for status in ("pass", "fail", "not run"))
        sides = (_versions(row, side) for side in ("candidate", "reference"))
        lines.append((row.name, *sides, *figures, *_cost(row.cost)))
    return _table(head, lines)


def _cost(cost: Mapping[str, Any]) -> tuple[str, str, str]:
    install = cost["install_seconds"]
    spent = "not measured" if install is None else f"{install / 60:.1f}"
    low, high = sorted(cost["load"])
    return spent, f"{cost['run_seconds'] / 60:.1f}", f"{low} to {high}"


def _versions(row: Row, side: str) -> str:
    """Return what the captures say that they ran; several, if they do not agree."""
    found: dict[str, None] = {}
    for cell in row.cells.values():
        identity = cell.identity.get(side)
        if identity:
            details = identity["details"]
            words = [f"{_NAMES.get(identity['framework'], identity['framework'])} "
                     f"{identity['version']}"]  # fmt: skip
            words += [f"{name} {details[key]}" for key, name in _DETAILS.items() if key in details]
            found[", ".join([*words, f"Python {details['python']}"])] = None
    return "; ".join(found) or "nothing ran"


def _cells_table(matrix: Matrix, notes: _Notes, why: Callable[[str, str], str]) -> str:
    cells = {(c.column, c.mode, c.dtype): c for c in matrix.cells}
    dtypes = list(dict.fromkeys(dtype for _, _, dtype in cells))
    lines = []
    for row in matrix.rows:
        if row.state != "recorded":
            note = notes.number(f"{row.name} was {row.state}: {row.says}.")
            lines.append((row.name, "", "", *[f"not run [{note}]"] * len(matrix.columns)))
            continue
        for mode in MODES:
            for dtype in dtypes:
                asked = [cells.get((column, mode, dtype)) for column in matrix.columns]
                shown = [_show(row, cell, notes, why) for cell in asked]
                lines.append((row.name, mode, dtype, *shown))
    head = ("environment", "mode", "dtype", *map(_title, matrix.columns))
    return _table(head, lines)


def _title(column: Column) -> str:
    return f"{column.architecture} {column.head}, {column.asks}"


def _show(row: Row, cell: Cell | None, notes: _Notes, why: Callable[[str, str], str]) -> str:
    if cell is None:
        return "–"
    found: Found = row.cells[cell.name]
    if found.status == "pass":
        return "pass"
    reason = " ".join(part for part in (_sentence(found.says), why(row.name, cell.name)) if part)
    number = notes.number(reason)
    tap = f" `{found.tap}`" if found.tap else ""
    return f"**fail**{tap} [{number}]" if found.status == "fail" else f"not run [{number}]"


def _sentence(text: str) -> str:
    plain = " ".join(text.split()).replace("|", "\\|")
    return plain if plain.endswith((".", "!", "?")) else f"{plain}."


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
