"""JSON from a file that is not trusted."""

from __future__ import annotations

import json
from typing import Any

from mindport.migrate.checkpoints.limits import MAX_TENSORS

MAX_CONTAINERS = 4 * MAX_TENSORS
"""Lists and tables; a tensor in safetensors needs three."""


def parse_json(data: bytes) -> Any:
    """Return what a JSON text says.

    Raises:
        ValueError: If it is not UTF-8 or not JSON, says a thing twice, or is nested too deeply.
    """
    # An empty list takes two bytes there and sixty here.
    if data.count(b"[") + data.count(b"{") > MAX_CONTAINERS:
        raise ValueError("it has too many parts")
    try:
        return json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:80]!r} stands twice")
    return content


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
