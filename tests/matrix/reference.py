"""Record, once, the references that every row is held to: all columns, all dtypes.

    python -m tests.matrix.reference [--columns PATTERN]

What lies there already is left alone if the same code, versions and columns made it.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from mindport.migrate.errors import EXIT_ENVIRONMENT, EXIT_PASS, EXIT_USAGE
from mindport.validate.launch import NotRun
from mindport.validate.recording.running import share_case
from tests.matrix.arguments import parser
from tests.matrix.cells import Column, list_columns
from tests.matrix.cost import Meter
from tests.matrix.running import in_parallel
from tests.matrix.sides import case_place, record_references
from tests.matrix.store import (
    MATRIX,
    REFERENCE,
    code_digest,
    read_json,
    replaced_folder,
    write_json,
)


def main() -> int:
    """Record what is missing and return the exit code."""
    options = parser(__doc__)
    options.add_argument("--columns", default="*", help="names of columns, as in a shell")
    chosen = options.parse_args()
    columns = list_columns(chosen.columns)
    if not columns:
        print(f"No column is called {chosen.columns!r}.", file=sys.stderr)
        return EXIT_USAGE
    made_by = {
        "code": code_digest(),
        "versions": {name: version(name) for name in ("torch", "transformers")},
        "columns": [asdict(column) for column in columns],
    }
    place, meter = chosen.folder / REFERENCE, Meter()
    try:
        found = read_json(place / MATRIX)
    except (OSError, ValueError):
        found = {}
    if all(found.get(name) == value for name, value in made_by.items()):
        print(f"{place} is complete")
        return EXIT_PASS
    with replaced_folder(place) as part:
        done = in_parallel(lambda column: record_column(column, part), columns)
        write_json(part / MATRIX, {**made_by, "cost": meter.read()})
    return EXIT_PASS if all(done) else EXIT_ENVIRONMENT


def record_column(column: Column, folder: Path) -> bool:
    """Make a column's case and record it in every dtype; tell whether all could be."""
    case = share_case(column.request, case_place(folder, column), None)
    done = record_references(column, column.dtypes, folder, case)
    for dtype, outcome in done.items():
        said = f"not run: {outcome.reason}" if isinstance(outcome, NotRun) else "recorded"
        print(f"reference: {column.name} {dtype}: {said}", flush=True)
    return not any(isinstance(outcome, NotRun) for outcome in done.values())


if __name__ == "__main__":
    raise SystemExit(main())
