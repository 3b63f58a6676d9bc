"""A verdict that was written down, read again: checked against the schema, then as it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from mindport.migrate.errors import MindportError
from mindport.validate.metrics import Errors
from mindport.validate.pairs.facts import Difference, PairFacts, SideFacts
from mindport.validate.report.publish import VERDICT_FILE
from mindport.validate.report.schema import find_departure
from mindport.validate.verdict import SCHEMA, Both, Diagnosis, TapResult, Verdict

_SCHEMA_FILE = Path(__file__).parents[1] / "verdict.schema.json"


def read_verdict(path: str | Path) -> Verdict:
    """Return a stored verdict.

    Args:
        path: The file, or the folder that ``--report`` wrote.

    Raises:
        MindportError: If there is none, or it is damaged, of something else, or of another schema.
    """
    file = Path(path)
    if file.is_dir():
        file /= VERDICT_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise MindportError(
            f"There is no verdict at {file}.", "Name a folder that `validate … --report` wrote."
        ) from None
    except OSError as error:
        raise MindportError(f"{file} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:
        raise MindportError(
            f"{file} is damaged: it is not JSON ({error}).", "Run the comparison again."
        ) from None
    _check(file, content)
    return verdict_from(content)


def verdict_from(content: Mapping[str, Any]) -> Verdict:
    """Return the verdict whose ``to_dict`` gave this; the schema holds for it."""
    fields = _tuples(content)
    del fields["schema"]
    fields["taps"] = tuple(_tap(tap) for tap in content["taps"])
    fields["diagnosis"] = tuple(
        Diagnosis(**{**found, "also": tuple(found["also"])}) for found in content["diagnosis"]
    )
    return Verdict(**fields)


def _tap(content: Mapping[str, Any]) -> TapResult:
    fields = _tuples(content)
    for view in ("accumulated", "isolated"):
        if fields[view] is not None:
            fields[view] = Both(
                **{side: Errors(**_tuples(errors)) for side, errors in fields[view].items()}
            )
    if fields["facts"] is not None:
        facts = _tuples(fields["facts"])
        for side in ("reference", "candidate"):
            facts[side] = SideFacts(**_tuples(facts[side]))
        if facts["first_difference"] is not None:
            facts["first_difference"] = Difference(**_tuples(facts["first_difference"]))
        fields["facts"] = PairFacts(**facts)
    return TapResult(**fields)


def _tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
    }


def _check(file: Path, content: Any) -> None:
    if not isinstance(content, dict) or not {"schema", "verdict", "taps"} <= content.keys():
        raise MindportError(
            f"{file} is not a verdict of validate.",
            "Name a folder that `validate … --report` wrote.",
        )
    if content["schema"] != SCHEMA:
        raise MindportError(
            f"{file} has schema {content['schema']}; this mindport reads schema {SCHEMA}.",
            "Run the comparison again with this mindport, or read it with the one that wrote it.",
        )
    departure = find_departure(content, _SCHEMA_FILE)
    if departure is not None:
        raise MindportError(
            f"{file} is damaged, or was changed: at {departure.place}: {departure.message}.",
            "Run the comparison again.",
        )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
