"""Whether two verdicts say the same, figures aside that another processor may round otherwise."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

# Both are float64 NumPy on the same captures; only the order of sums may differ.
_RELATIVE, _ABSOLUTE = 1e-6, 1e-12
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)
_IN_WORDS = 0.02  # numbers in sentences are rounded to two or three digits
# How a verdict came about; not what it says.
APART = ("made", "mapping")


def differences(
    stored: Mapping[str, Any], found: Mapping[str, Any], apart: tuple[str, ...] = APART
) -> list[str]:
    """Return where two verdicts differ, each place with both values.

    Args:
        stored: What is written down, as JSON-ready data.
        found: What was computed again.
        apart: Fields that are not compared.
    """
    ours = {key: value for key, value in stored.items() if key not in apart}
    theirs = {key: value for key, value in found.items() if key not in apart}
    return list(_walk("", ours, theirs))


def _walk(place: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            where = f"{place}.{key}".lstrip(".")
            if key in one and key in other:
                yield from _walk(where, one[key], other[key])
            else:
                yield f"{where} is {'missing' if key in other else 'more'}"
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            yield f"{place} has {len(one)} entries, not {len(other)}"
            return
        for number, (mine, its) in enumerate(zip(one, other, strict=True)):
            yield from _walk(f"{place}[{number}]", mine, its)
    elif not _same(one, other):
        yield f"{place} is {_short(one)}, not {_short(other)}"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    if isinstance(one, str) and isinstance(other, str) and one != other:
        return _same_words(one, other)
    return bool(one == other)


def _same_words(one: str, other: str) -> bool:
    if _NUMBER.sub("#", one) != _NUMBER.sub("#", other):
        return False
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return all(math.isclose(float(m), float(o), rel_tol=_IN_WORDS) for m, o in pairs)


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= 80 else f"{said[:79]}…"
