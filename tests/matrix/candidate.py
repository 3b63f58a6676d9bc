"""Record a candidate for every cell, and judge it by the shared references; needs no torch.

python -m tests.matrix.candidate ROW --backend mindspore
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from mindport.validate.recording.order import Order
from tests.matrix.arguments import parser
from tests.matrix.cells import Cell
from tests.matrix.running import Sides, run_row
from tests.matrix.sides import case_place, find_reference, record_sides
from tests.matrix.store import REFERENCE, recorded_place


def main() -> int:
    """Run the row and return the exit code."""
    options = parser(__doc__, row=True)
    options.add_argument("--backend", required=True)
    options.add_argument("--apart", action="store_true", help="one worker for every cell")
    chosen = options.parse_args()

    def prepare(cells: Sequence[Cell], part: Path) -> list[Sides]:
        references = chosen.folder / REFERENCE
        orders = {
            recorded_place(part, cell): Order(
                # This interpreter: another one that fits might be found otherwise.
                cell.column.again(
                    cell.dtype, mode=cell.mode, backend=chosen.backend, python=sys.executable
                ),
                case=case_place(references, cell.column),
            )
            for cell in cells
        }
        return [
            (find_reference(references, cell.column, cell.dtype), candidate)
            for cell, candidate in zip(cells, record_sides(orders).values(), strict=True)
        ]

    return run_row(chosen.row, chosen.folder, prepare, apart=chosen.apart)


if __name__ == "__main__":
    raise SystemExit(main())
