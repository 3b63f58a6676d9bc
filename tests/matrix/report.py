"""Gather the verdicts of every environment into one table, and say whether all is as expected.

    python -m tests.matrix.report [--page docs/matrix.md]

Exit code 1 if a cell is not as it should be (``expected.yaml``), or a row was not recorded although
its interpreter is here.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mindport.migrate.errors import EXIT_FAIL, EXIT_PASS, EXIT_USAGE, MindportError
from tests.matrix.arguments import parser
from tests.matrix.expected import find_surprises, read_exemptions
from tests.matrix.gather import gather
from tests.matrix.rows import missing_interpreter, read_rows
from tests.matrix.table import render

BEGIN, END = "<!-- matrix: begin -->", "<!-- matrix: end -->"


def main() -> int:
    """Print the table and return the exit code."""
    options = parser(__doc__)
    options.add_argument("--rows", nargs="+", help="of these rows alone")
    options.add_argument("--page", type=Path, help="write the table between the marks of this page")
    chosen = options.parse_args()
    try:
        matrix = gather(chosen.folder, chosen.rows or read_rows(), missing_interpreter)
        exemptions = read_exemptions()
    except MindportError as error:
        print(f"error: {error.message} {error.hint}", file=sys.stderr)
        return EXIT_USAGE

    def why(row: str, cell: str) -> str:
        return next((e.why for e in reversed(exemptions) if e.fits(row, cell)), "")

    table = render(matrix, why)
    print(table)
    if chosen.page is not None:
        write_page(chosen.page, table)
    surprises = find_surprises(matrix, exemptions)
    for line in surprises:
        print(f"not as expected: {line}", file=sys.stderr)
    if not surprises:
        print("every cell is as expected", file=sys.stderr)
    return EXIT_FAIL if surprises else EXIT_PASS


def write_page(page: Path, table: str) -> None:
    """Put the table between the marks of a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no {BEGIN} … {END}")
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
