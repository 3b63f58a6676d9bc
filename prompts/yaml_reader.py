"""Strict access to a YAML file: every error names the file and the key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from mindport.migrate.errors import MindportError, did_you_mean

T = TypeVar("T")

_BOOLEAN = 'YAML reads yes, no, on, off, true and false as booleans: put it in quotes ("yes").'


class YamlReader:
    """Reads one file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def error(self, key: str, problem: str, hint: str = "") -> MindportError:
        """Return an error about a key."""
        where = f"{self._path}, {key}" if key else str(self._path)
        return MindportError(f"{where}: {problem}.", hint)

    def read(self) -> Any:
        """Return the content.

        Raises:
            MindportError: If the file cannot be read, is no YAML, or has a key twice.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except OSError as error:
            reason = error.strerror or str(error)
            raise MindportError(f"The task {self._path} cannot be read: {reason}.") from None
        except UnicodeDecodeError:
            raise self.error("", "this is not UTF-8 text", "Save the file as UTF-8.") from None
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            if node is not None:
                self._check_keys(node, set())
            return yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            hint = 'Quote text that begins with "[" or holds ": ", such as a template.'
            raise self.error("", f"this is not YAML: {error}", hint) from None

    def _check_keys(self, node: yaml.Node, seen: set[int]) -> None:
        """Refuse a key that stands twice, where YAML would quietly take the last."""
        if id(node) in seen:  # an alias, perhaps to itself
            return
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for child in node.value:
                self._check_keys(child, seen)
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in keys:
                    line = key.start_mark.line + 1
                    raise self.error(key.value, f"the key stands there twice, again in line {line}")
                keys.add(str(key.value))
                self._check_keys(value, seen)

    def mapping(
        self, value: Any, key: str, required: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Return a mapping with all required and only known keys."""
        known = required + optional
        if not isinstance(value, dict):
            raise self.error(key, f"keys ({', '.join(known)}) are needed, not {value!r}")
        for name in value:
            if name not in known:
                hint = _BOOLEAN if isinstance(name, bool) else ""
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
            raise self.error(key, f"this is the boolean {str(value).lower()}, not text", _BOOLEAN)
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
