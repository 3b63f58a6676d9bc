"""Which cells may be other than a pass (``expected.yaml``), held against what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from mindport.migrate.errors import MindportError
from tests.matrix.gather import Found, Matrix, Status

FILE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True)
class Exemption:
    """A line of the file; see there."""

    row: str
    cell: str
    status: Status
    says: str
    why: str
    tap: str = ""

    def fits(self, row: str, cell: str) -> bool:
        """Tell whether it is about a cell."""
        return fnmatchcase(row, self.row) and fnmatchcase(cell, self.cell)

    def holds(self, found: Found) -> bool:
        """Tell whether a cell is as it says."""
        same = (found.status, found.tap) == (self.status, self.tap)
        return same and self.says in found.says


def read_exemptions(path: Path = FILE) -> list[Exemption]:
    """Read the file.

    Raises:
        MindportError: If a line of it is not as it should be.
    """
    found = []
    for line in yaml.safe_load(path.read_text(encoding="utf-8")) or []:
        try:
            made = Exemption(**line)
            if made.status not in ("fail", "not run") or not made.why or not made.says:
                raise TypeError("status, says or why")
        except TypeError as error:
            raise MindportError(f"{path.name}: {line}: {error}.") from None
        found.append(made)
    return found


def find_surprises(matrix: Matrix, exemptions: Sequence[Exemption]) -> list[str]:
    """Return what is not as it should be, in words; nothing if all is well."""
    surprises, used = [], set()
    for row in matrix.rows:
        if row.state == "missing":
            surprises.append(f"{row.name}: {row.says}")
        for cell, found in row.cells.items():
            fitting = [e for e in exemptions if e.fits(row.name, cell)]
            used.update(fitting)
            came = f"{found.status}: {found.says}"
            if not fitting and found.status != "pass":
                surprises.append(f"{row.name}: {cell}: {came}")
            elif fitting and not fitting[-1].holds(found):
                wanted = f"{fitting[-1].status} at {fitting[-1].tap or fitting[-1].says!r}"
                surprises.append(f"{row.name}: {cell}: expected {wanted}; {came}")
    surprises += _unused(matrix, exemptions, used)
    if not any(row.state == "recorded" for row in matrix.rows):
        surprises.append("no row was recorded at all")
    return surprises


def _unused(matrix: Matrix, exemptions: Sequence[Exemption], used: set[Exemption]) -> list[str]:
    """Name the lines about a row that was recorded and about no cell of it."""
    whole = {row.name for row in matrix.rows if row.state == "recorded" and row.cells}
    return [
        f"{FILE.name}: nothing fits row {e.row!r}, cell {e.cell!r}"
        for e in exemptions
        if e not in used and any(fnmatchcase(name, e.row) for name in whole)
    ]
