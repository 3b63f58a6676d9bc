"""The one family of errors that mindport raises on purpose, each with its exit code.

A command catches :class:`MindportError` once, prints its message and returns its exit code;
anything else that escapes is a bug of ours and may show a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

EXIT_PASS = 0
EXIT_FAIL = 1
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3

_SHOWN = 30  # problems listed on screen; a report file holds them all


class MindportError(Exception):
    """What was wrong, where, and what to do about it.

    Args:
        message: One sentence that names the thing and the place.
        hint: What the user can do next; shown on a line of its own.
    """

    exit_code = EXIT_USAGE

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class CheckpointError(MindportError):
    """A checkpoint cannot be read: absent, truncated, corrupt or not allowed."""


class ConfigError(MindportError):
    """A config lacks a field or holds a value that this architecture cannot have."""


class PlanError(MindportError):
    """A checkpoint does not fit the architecture; carries every problem found, not the first.

    Attributes:
        problems: One sentence per problem.
    """

    def __init__(self, message: str, problems: Iterable[str], hint: str = "") -> None:
        self.problems = tuple(problems)
        lines = [f"  - {problem}" for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            lines.append(f"  … and {len(self.problems) - _SHOWN} more")
        listing = "\n".join(lines)
        super().__init__(f"{message}\n{listing}" if listing else message, hint)


class DestinationError(MindportError):
    """The place to write to exists already or cannot be written."""


class EnvironmentUnavailableError(MindportError):
    """A framework, a device or a network service that the request needs is not there."""

    exit_code = EXIT_ENVIRONMENT


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'? Known: a, b."`` for an unknown word.

    Args:
        word: What the user wrote.
        known: The words that would have been understood.
    """
    names = sorted(known)
    close = get_close_matches(word, names, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    return f"{guess} Known: {', '.join(names)}."
