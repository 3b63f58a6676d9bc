"""Which tables and keys a task file may have, and which values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mindport.migrate.architectures import architecture_names
from mindport.migrate.errors import MindportError, did_you_mean
from mindport.validate.acceptance.task import BACKENDS, CAPTURES, PROCESSOR, VERDICTS, WALL
from mindport.validate.case import DTYPES, MODES
from mindport.validate.departures.known import DEPARTURES
from mindport.validate.devices import parse_device
from mindport.validate.tolerance import POLICIES

# Returns what is wrong with a value, or nothing.
Check = Callable[[Any], str]


def text(value: Any) -> str:
    """Accept words."""
    return "" if isinstance(value, str) and value.strip() else "must be a text that is not empty"


def switch(value: Any) -> str:
    """Accept true and false."""
    return "" if isinstance(value, bool) else "must be true or false"


def word(*known: str) -> Check:
    """Accept one of some words."""

    def check(value: Any) -> str:
        if isinstance(value, str) and value in known:
            return ""
        return f"is {value!r}.{did_you_mean(str(value), known)}"

    return check


def device(value: Any) -> str:
    """Accept a device's name."""
    try:
        parse_device(str(value))
    except MindportError as error:
        return f"is {error.message.replace('is not', 'which is not', 1)}"
    return ""


def count(least: int) -> Check:
    """Accept a whole number."""

    def check(value: Any) -> str:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return "" if whole and value >= least else f"must be a whole number from {least} on"

    return check


def number(value: Any) -> str:
    """Accept a number above 0."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    fine = known and math.isfinite(value) and value > 0
    return "" if fine else "must be a number above 0"


def amount(value: Any) -> str:
    """Accept a number from 0 on."""
    return "" if not number(value) or (value == 0 and value is not False) else "must be 0 or more"


def several(item: Check) -> Check:
    """Accept a list of different values, at least one."""

    def check(value: Any) -> str:
        if not isinstance(value, list) or not value:
            return "must be a list with something in it"
        for place, each in enumerate(value):
            if wrong := item(each):
                return f"[{place}] {wrong}"
            if each in value[:place]:
                return f"[{place}] is there twice"
        return ""

    return check


TABLES: Mapping[str, Mapping[str, Check]] = {
    "": {"schema": count(1), "name": text, "keep": word(CAPTURES, VERDICTS)},
    "model": {
        "architecture": word(*architecture_names()),
        "checkpoint": text,
        "candidate_checkpoint": text,
        "heads": several(text),
        "size": text,
        "config": text,
    },
    "case": {
        "batch": count(1),
        "length": count(1),
        "inputs": text,
        "seed": count(0),
        "threads": count(1),
        "timeout": number,
    },
    "run": {
        "backends": several(word(*BACKENDS)),
        "devices": several(device),
        "modes": several(word(*MODES)),
        "dtypes": several(word(*DTYPES)),
    },
    "own": {"factory": text, "taps": text},
    "tolerance": {
        "policy": word(*POLICIES),
        "atol": amount,
        "rtol": amount,
        "accept": several(word(*DEPARTURES)),
    },
    "prompts": {"tasks": several(text), "limit": count(1), "shots": count(0)},
    "gradients": {"check": switch},
    "performance": {"max_ratio": number, "rounds": count(3), "clock": word(WALL, PROCESSOR)},
    "show": {"every_tap": switch, "operations": switch, "max_used": number},
    "cell": {
        "head": text,
        "backend": word(*BACKENDS),
        "device": device,
        "mode": word(*MODES),
        "dtype": word(*DTYPES),
        "prompts": text,
        "may_be_absent": switch,
        "capture": text,
        "leave_out": text,
        "gradients": switch,
        "performance": switch,
    },
}
NEEDED: Sequence[tuple[str, str]] = (
    ("", "schema"), ("", "name"), ("model", "architecture"), ("model", "heads"),
    ("run", "backends"), ("run", "devices"), ("run", "modes"), ("run", "dtypes"),
)  # fmt: skip
# Needed where their table is there.
NEEDED_WITHIN: Sequence[tuple[str, str]] = (
    ("own", "factory"), ("prompts", "tasks"), ("performance", "max_ratio"), ("gradients", "check"),
)  # fmt: skip
