"""A YAML file as plain data: no tag makes an object, and every error names the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.prompts.formats.files import publish, read_text
from mindport.prompts.formats.spec import BOOLEAN_HINT, check_encodable

_CORE = "tag:yaml.org,2002:"
_LIMIT = 1024 * 1024  # bytes; the parser is slow
_NODES = 20_000  # aliases counted each time, so that a few lines cannot become millions
_DEPTH = 40
_DIGITS = 40
_TOO_MUCH = "it is nested too deeply, or too large"


class YamlFile:
    """A file's content, and where each part of it stands.

    Args:
        path: The file.
        mapping_tags: Tags that may stand before a mapping and mean nothing here.

    Attributes:
        content: Text, numbers, booleans, None, lists and dictionaries.

    Raises:
        MindportError: If it is not YAML, holds a tag, a key twice, or far too much.
    """

    def __init__(self, path: Path, mapping_tags: frozenset[str] = frozenset()) -> None:
        self.path = path
        self._tags = mapping_tags
        self._lines: dict[str, int] = {}
        self._seen = 0
        text = read_text(path, _LIMIT)
        try:
            node = yaml.compose(text, Loader=_Loader)
            self.content: Any = None if node is None else self._plain(node, "", 0)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f", line {mark.line + 1}" if mark else ""
            problem = error.problem or error.context
            raise MindportError(
                f"{path}{line}: this is not YAML: {problem}.",
                'Quote text that begins with "[" or "{" or holds ": ", such as a template.',
            ) from None
        except (yaml.YAMLError, RecursionError) as error:
            reason = (str(error).splitlines() or ["nested too deeply"])[0]
            raise MindportError(f"{path}: this is not YAML: {reason}.") from None

    def error(self, key: str, problem: str, hint: str = "") -> MindportError:
        """Return an error that names file, line and key."""
        line = f", line {self._lines[key]}" if key in self._lines else ""
        where = f"{self.path}{line}, {key}" if key else f"{self.path}"
        return MindportError(f"{where}: {problem}.", hint)

    def mapping(self, value: Any, key: str, known: tuple[str, ...] | None = None) -> dict[str, Any]:
        """Return a mapping whose keys are text, and known ones if those are given.

        Raises:
            MindportError: If it is none.
        """
        if not isinstance(value, dict):
            raise self.error(key, f"keys and values are needed, not {_shown(value)}")
        for name in value:
            place = f"{key}.{name}".lstrip(".")
            if not isinstance(name, str):
                hint = BOOLEAN_HINT if isinstance(name, bool) else "Put it in quotes."
                raise self.error(place, f"a key must be text, not {_shown(name)}", hint)
            if known is not None and name not in known:
                guess = did_you_mean(name, known).rstrip(".")
                raise self.error(place, f"unknown key.{guess}")
        return value

    def sequence(self, value: Any, key: str) -> list[Any]:
        """Return a list with one entry or more.

        Raises:
            MindportError: If it is none.
        """
        if not isinstance(value, list) or not value:
            raise self.error(key, f"a list is needed, not {_shown(value)}")
        return value

    def text(self, value: Any, key: str, *, empty: bool = False) -> str:
        """Return a text.

        Args:
            value: What stands there.
            key: Where.
            empty: Whether it may be empty or blank.

        Raises:
            MindportError: If it is none.
        """
        if isinstance(value, bool):
            problem = f"this is the boolean {str(value).lower()}, not text"
            raise self.error(key, problem, BOOLEAN_HINT)
        if not isinstance(value, str) or not (empty or value.strip()):
            raise self.error(key, f"text is needed, not {_shown(value)}", "Put it in quotes.")
        return value

    def _plain(self, node: yaml.Node, key: str, depth: int) -> Any:
        line = node.start_mark.line + 1
        self._lines.setdefault(key, line)
        self._seen += 1
        if depth > _DEPTH or self._seen > _NODES:
            raise self.error(key, _TOO_MUCH, "Write it out, without aliases.")
        tag = node.tag.removeprefix(_CORE)
        if isinstance(node, yaml.MappingNode) and (tag == "map" or node.tag in self._tags):
            return self._mapping(node, key, depth)
        if isinstance(node, yaml.SequenceNode) and tag == "seq":
            return [
                self._plain(child, f"{key}[{place}]", depth + 1)
                for place, child in enumerate(node.value)
            ]
        if isinstance(node, yaml.ScalarNode) and tag in _SCALARS:
            if tag in ("int", "float") and len(node.value) > _DIGITS:
                raise self.error(key, f"{_shown(node.value)} is too long for a number")
            check_encodable(node.value, f"{self.path}, line {line}: a text")
            try:
                return _SCALARS[tag](node)
            except (ValueError, IndexError, KeyError, OverflowError):
                raise self.error(key, f"{_shown(node.value)} is not of type {tag}") from None
        name = node.tag.replace(_CORE, "!!")
        if name == "!!merge":
            raise self.error(key, "keys cannot be merged in from elsewhere", "Write them out.")
        raise self.error(
            key,
            f"the tag {name} is refused: a prompt file is data, and never makes code run",
            "Write the text itself there."
            if name.startswith(("!function", "!!python"))
            else "Remove the tag.",
        )

    def _mapping(self, node: yaml.MappingNode, key: str, depth: int) -> dict[Any, Any]:
        content: dict[Any, Any] = {}
        for name_node, value in node.value:
            place = f"{key}.{name_node.value}".lstrip(".") if _is_scalar(name_node) else key
            self._lines.setdefault(place, name_node.start_mark.line + 1)
            if not _is_scalar(name_node):
                raise self.error(place, "a key must be text")
            name = self._plain(name_node, place, depth + 1)
            if name in content:
                line = name_node.start_mark.line + 1
                raise self.error(place, f"the key stands there twice, again in line {line}")
            content[name] = self._plain(value, place, depth + 1)
        return content


def write_yaml(path: Path, content: Any) -> None:
    """Write plain data as YAML, whole or not at all, keys in the order given.

    Raises:
        DestinationError: If the file exists or cannot be written.
    """
    publish({path: yaml_text(content)})


def yaml_text(content: Any) -> str:
    """Return plain data as YAML."""
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


class _Loader(yaml.SafeLoader):
    """Stops at what is nested too deeply or too large, before it has taken long."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node."""
        self._count += 1
        self._depth += 1
        if self._depth > _DEPTH or self._count > _NODES:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, _TOO_MUCH, mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Writes a list of plain values on one line."""

    def represent_sequence(
        self, tag: str, sequence: Any, flow_style: bool | None = None
    ) -> yaml.SequenceNode:
        """Return the node of a list."""
        plain = not any(isinstance(value, dict | list) for value in sequence)
        return super().represent_sequence(tag, sequence, flow_style=plain or None)

    def represent_text(self, data: str) -> yaml.ScalarNode:
        """Return the node of a text; line breaks other than the usual are spelt out."""
        style = '"' if set(data) & set("\x85\u2028\u2029\ufeff\r") else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def ignore_aliases(self, data: Any) -> bool:
        """Write what stands twice twice."""
        return True


_Dumper.add_representer(str, _Dumper.represent_text)


def _is_scalar(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


_CONSTRUCT = yaml.constructor.SafeConstructor()
_SCALARS: dict[str, Any] = {
    "str": lambda node: node.value,
    "value": lambda node: node.value,
    "timestamp": lambda node: node.value,  # a date is text here
    "null": lambda node: None,
    "bool": _CONSTRUCT.construct_yaml_bool,
    "int": _CONSTRUCT.construct_yaml_int,
    "float": _CONSTRUCT.construct_yaml_float,
}
