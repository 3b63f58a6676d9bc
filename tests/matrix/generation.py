"""Record the references anew, with another torch or transformers, and judge by them.

    python -m tests.matrix.generation ROW --candidates OTHER_ROW

A framework is never compared with itself, so the candidates are those that another row recorded
on MindSpore: does the verdict hold when this generation makes the reference?
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mindport.validate.launch import NotRun
from tests.matrix.arguments import parser
from tests.matrix.cells import Cell, Column
from tests.matrix.running import Sides, in_parallel, run_row
from tests.matrix.sides import case_place, find_reference, record_references
from tests.matrix.store import REFERENCE, ROWS, recorded_place


def main() -> int:
    """Run the row and return the exit code."""
    options = parser(__doc__, row=True)
    options.add_argument("--candidates", required=True, metavar="ROW")
    chosen = options.parse_args()
    recorded = chosen.folder / ROWS / chosen.candidates
    lacking = NotRun("candidate", f"{chosen.candidates} has recorded no candidate")

    def first(cells: Sequence[Cell], part: Path) -> None:
        wanted: dict[Column, dict[str, None]] = {}
        for cell in cells:
            if recorded_place(recorded, cell).is_dir():
                wanted.setdefault(cell.column, {})[cell.dtype] = None

        def record(column: Column) -> None:
            case = case_place(chosen.folder / REFERENCE, column)
            record_references(column, list(wanted[column]), part / REFERENCE, case)

        in_parallel(record, wanted)

    def prepare(cells: Sequence[Cell], part: Path) -> list[Sides]:
        return [
            (
                find_reference(part / REFERENCE, cell.column, cell.dtype),
                recorded_place(recorded, cell),
            )
            if recorded_place(recorded, cell).is_dir()
            else (lacking, lacking)
            for cell in cells
        ]

    return run_row(chosen.row, chosen.folder, prepare, first)


if __name__ == "__main__":
    raise SystemExit(main())
