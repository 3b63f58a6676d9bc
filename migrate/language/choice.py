"""Which language the reader wants."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TextIO

ENGLISH, CHINESE = "en", "zh"
VARIABLE = "MINDPORT_LANG"
_PROBE = "中文，：“”"


def chosen_language(
    environ: Mapping[str, str] | None = None, streams: Iterable[TextIO] | None = None
) -> str:
    """Return ``zh`` or ``en``.

    ``MINDPORT_LANG`` decides; without it the locale does, as gettext reads it: ``LC_ALL`` before
    ``LC_MESSAGES`` before ``LANG``, and ``LANGUAGE`` before all of them unless they say ``C``.

    Args:
        environ: The environment; by default this process's.
        streams: What is written to; by default standard output and error. Where one of them
            cannot encode Chinese, it is English.
    """
    environ = os.environ if environ is None else environ
    wanted = _wanted(environ)
    streams = (sys.stdout, sys.stderr) if streams is None else streams
    return wanted if wanted == ENGLISH or all(map(_encodes, streams)) else ENGLISH


def _wanted(environ: Mapping[str, str]) -> str:
    if asked := environ.get(VARIABLE):
        return CHINESE if _is_chinese(asked) else ENGLISH
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((value for name in names if (value := environ.get(name))), "C")
    if locale.partition(".")[0] in ("C", "POSIX"):
        return ENGLISH
    for language in (*environ.get("LANGUAGE", "").split(":"), locale):
        if _is_chinese(language):
            return CHINESE
        if language.lower().startswith("en"):
            return ENGLISH
    return ENGLISH


def _is_chinese(name: str) -> bool:
    return name.lower().replace("-", "_").partition(".")[0].partition("_")[0] == CHINESE


def _encodes(stream: TextIO) -> bool:
    try:
        _PROBE.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
