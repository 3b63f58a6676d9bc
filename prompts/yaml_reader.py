"""Strict access to a YAML file: every error names the file and the key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.prompts.formats.spec import BOOLEAN_HINT
from mindport.prompts.formats.yaml_file import YamlFile

T = TypeVar("T")


class YamlReader:
    """Reads one file.

    Args:
        path: The file.

    Raises:
        MindportError: If the file cannot be read, is no YAML, holds a tag, or has a key twice.
    """

    def __init__(self, path: Path) -> None:
        self._file = YamlFile(path)
        self.content = self._file.content

    def error(self, key: str, problem: str, hint: str = "") -> MindportError:
        """Return an error about a key."""
        return self._file.error(key, problem, hint)

    def mapping(
        self, value: Any, key: str, required: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Return a mapping with all required and only known keys."""
        known = required + optional
        if not isinstance(value, dict):
            raise self.error(key, f"keys ({', '.join(known)}) are needed, not {value!r}")
        for name in value:
            if name not in known:
                hint = BOOLEAN_HINT if isinstance(name, bool) else ""
                guess = did_you_mean(str(name), known).rstrip(".")
                raise self.error(key, f"unknown key {name!r}.{guess}", hint)
        for name in required:
            if name not in value:
                raise self.error(key, f"the key {name!r} is missing")
        return value

    def sequence(self, value: Any, key: str) -> list[Any]:
        """Return a list with an entry or more."""
        if not isinstance(value, list) or not value:
            raise self.error(key, f"a list with one entry or more is needed, not {value!r}")
        return value

    def text(self, value: Any, key: str) -> str:
        """Return a text with more than white space."""
        if isinstance(value, bool):
            raise self.error(
                key, f"this is the boolean {str(value).lower()}, not text", BOOLEAN_HINT
            )
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, f"text is needed, not {value!r}", "Put a number in quotes.")
        return value

    def choice(self, value: Any, key: str, known: tuple[str, ...]) -> str:
        """Return a text that is one of those known."""
        text = self.text(value, key)
        if text not in known:
            guess = did_you_mean(text, known).rstrip(".")
            raise self.error(key, f"unknown {key} {text!r}.{guess}")
        return text

    def version(self, value: Any) -> int:
        """Return a whole number from 1 up."""
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.error("version", f"a whole number from 1 up is needed, not {value!r}")
        return value

    def chance(self, value: Any) -> float:
        """Return a number between 0 and 1."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
            raise self.error(
                "chance", f"a number between 0 and 1 is needed, not {value!r}", "Two labels: 0.5."
            )
        return float(value)

    def build(self, key: str, make: Callable[[], T]) -> T:
        """Return what ``make`` returns; its errors name the key."""
        try:
            return make()
        except MindportError as error:
            raise self.error(key, error.message.rstrip("."), error.hint) from None
