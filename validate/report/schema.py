"""A stored file against its JSON schema."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MOST = 200  # letters that are told of what is wrong


@dataclass(frozen=True)
class Departure:
    """What a schema does not allow.

    Attributes:
        place: Where, as a JSON path.
        message: What is wrong there, shortened.
    """

    place: str
    message: str


def find_departure(content: Any, schema_file: Path) -> Departure | None:
    """Return what best tells how a file departs from its schema; None if it does not.

    Args:
        content: The file, parsed.
        schema_file: The schema, draft 2020-12.
    """
    import jsonschema  # a tenth of a second that no command but those that read files needs

    schema = json.loads(schema_file.read_text(encoding="utf-8"))
    error = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(schema).iter_errors(content)
    )
    if error is None:
        return None
    said = error.message
    return Departure(error.json_path, said if len(said) <= _MOST else f"{said[: _MOST - 1]}…")
