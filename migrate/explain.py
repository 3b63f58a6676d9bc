"""Which rule takes a parameter where, from the config alone: no weights are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mindport.migrate.architecture import Architecture, Head, at_layer
from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.checkpoints.tensors import TensorInfo
from mindport.migrate.config import read_config_file, resolve_config
from mindport.migrate.detect import choose_head
from mindport.migrate.dialect import MINDSPORE, TORCH, Dialect
from mindport.migrate.dialects import DIALECTS
from mindport.migrate.entry import Entry
from mindport.migrate.errors import CheckpointError, MindportError, did_you_mean
from mindport.migrate.expected import expected_parameters, name_pattern
from mindport.migrate.operations import NoInverseError
from mindport.migrate.plan import Plan, make_plan
from mindport.migrate.porting import prepare
from mindport.migrate.storage import stored_tensors

_NEAR = 5  # names that are suggested


@dataclass(frozen=True)
class Wanted:
    """What is to be explained.

    Attributes:
        subject: An architecture, or where a checkpoint or a ``config.json`` lies.
        head: The head; None takes the config's, or the usual one.
        to: The dialect to go to; None takes MindSpore's, or the other one of a checkpoint.
        size: The named size of an architecture; None takes the first but the tiny one.
        vocabulary: How many tokens the target shall have.
    """

    subject: str
    head: str | None = None
    to: str | None = None
    size: str | None = None
    vocabulary: int | None = None


def explain(wanted: Wanted) -> Plan:
    """Return the plan of a port of what is named, whether there are weights or not.

    Raises:
        MindportError: If there is no such thing, or its weights do not fit.
    """
    if wanted.to is not None and wanted.to not in DIALECTS:
        raise MindportError(f"There is no layout {wanted.to!r}.{did_you_mean(wanted.to, DIALECTS)}")
    if wanted.subject in architecture_names():
        architecture = load_architecture(wanted.subject)
        return _without_weights(architecture, _config_of(architecture, wanted.size), wanted)
    if wanted.size is not None:
        raise MindportError("--size is for an architecture.", "Leave it out.")
    path = Path(wanted.subject)
    if not path.exists():
        raise MindportError(
            f"{wanted.subject!r} is neither an architecture nor a place where a checkpoint lies."
            f"{did_you_mean(wanted.subject, architecture_names())}"
        )
    config_file = path if path.name == "config.json" else path / "config.json"
    try:
        open_checkpoint(path if path.name != "config.json" else path.parent)
    except CheckpointError:
        if not config_file.is_file():
            raise
        config = read_config_file(config_file)
        return _without_weights(_architecture_of(config, config_file), config, wanted)
    if path.name == "config.json":
        path = path.parent
    elif path.is_file():
        config_file = path.parent / "config.json"
    config = read_config_file(config_file)
    name = _architecture_of(config, config_file).name
    vocabulary = wanted.vocabulary
    return prepare(path, name, head=wanted.head, to=wanted.to, vocabulary=vocabulary).plan


def _architecture_of(config: Mapping[str, Any], file: Path) -> Architecture:
    name = config.get("model_type")
    if not isinstance(name, str):
        raise MindportError(f"{file} names no model_type.", 'Add it, for instance "gpt2".')
    return load_architecture(name)


def _config_of(architecture: Architecture, size: str | None) -> Mapping[str, Any]:
    if size is None:
        size = next((name for name in architecture.sizes if name != "tiny"), "tiny")
    if size not in architecture.sizes:
        raise MindportError(
            f"{architecture.title} has no size {size!r}.{did_you_mean(size, architecture.sizes)}"
        )
    return architecture.sizes[size]


def _without_weights(architecture: Architecture, config: Mapping[str, Any], wanted: Wanted) -> Plan:
    target = DIALECTS[wanted.to or MINDSPORE.name]
    source = TORCH if target is not TORCH else MINDSPORE
    resolved = resolve_config(architecture, config)
    asked = wanted.head or (None if config.get("architectures") else architecture.default_head)
    head = choose_head(architecture, asked, config, (), source)
    return make_plan(
        architecture,
        head,
        resolved,
        dict(_headers(architecture, head, resolved, source)),
        source=source,
        target=target,
        allow_loss=True,
        vocabulary=wanted.vocabulary,
    )


def _headers(
    architecture: Architecture, head: Head, config: Mapping[str, Any], source: Dialect
) -> Iterator[tuple[str, TensorInfo]]:
    """Yield all that a checkpoint of this config may hold: other heads, ties and buffers too."""
    seen = set[str]()
    for described in (head, *architecture.heads.values()):
        parameters = tuple(expected_parameters(architecture, described, config, source))
        for tensor in stored_tensors(parameters, source, architecture.name, config):
            ties = tensor.shared_names[:1] if described is head and source is TORCH else ()
            bare = {name.removeprefix(architecture.prefix) for name in tensor.names}
            if seen.isdisjoint(bare):
                yield from ((name, TensorInfo("float32", tensor.shape))
                            for name in (tensor.names[0], *ties))  # fmt: skip
            seen |= bare | set(tensor.shared_names)
    if source is TORCH:
        for buffer in architecture.buffers:
            layers = config[architecture.layers] if "{i}" in buffer.name else 1
            for layer in range(layers):
                yield head.prefix + at_layer(buffer.name, layer), TensorInfo("int64", ())


def choose_entries(plan: Plan, name: str | None) -> Sequence[Entry]:
    """Return the lines of a plan that a name or pattern means.

    Args:
        plan: All lines.
        name: A name in the source or in the target, with ``{i}`` or any layer, or a pattern such
            as ``*attn*``; None for all.

    Raises:
        MindportError: If there is none; with names that are near.
    """
    if name is None:
        return plan.entries
    prefix = plan.architecture.prefix
    found = [
        entry for entry in plan.entries if any(_means(name, one, prefix) for one in _names(entry))
    ]
    if found:
        return found
    known = sorted({name_pattern(one) for entry in plan.entries for one in _names(entry)})
    near = _near(name_pattern(name), known)
    raise MindportError(
        f"{plan.architecture.title} with head {plan.head.name!r} has no parameter {name!r}.",
        f"Near it: {', '.join(near)}." if near else "Leave the name out to see all.",
    )


def _names(entry: Entry) -> Iterable[str]:
    return filter(None, (*entry.sources, entry.target))


def _means(name: str, stored: str, prefix: str) -> bool:
    bare = stored.removeprefix(prefix)
    exact = {stored, bare, name_pattern(stored), name_pattern(bare)}
    return name in exact or fnmatchcase(stored, name)


def _near(name: str, known: Sequence[str]) -> list[str]:
    """Return names that hold a word, or one like it, or are as a whole like it."""
    words = {word for one in known for word in one.split(".")}
    like = [name, *get_close_matches(name, words, 1)]
    found = [one for one in known if any(word in one for word in like)]
    return (found or get_close_matches(name, known, _NEAR, cutoff=0.4))[:_NEAR]


def way_back(entry: Entry) -> str:
    """Return what undoes a line, or why nothing does."""
    if entry.action == "tied":
        return "repeat: both names get the values"
    if entry.action == "generated":
        return "none: it was not in the source"
    if entry.action in ("dropped", "ignored"):
        return "none: it is left out"
    try:
        words = [operation.inverse().name for operation in reversed(entry.operations)]
        if entry.joint is not None:
            words.append(entry.joint.inverse().name)
        if entry.cast is not None:
            words.insert(0, entry.cast.inverse().name)
    except NoInverseError as error:
        return f"none: {error}"
    return " + ".join(words) or "copy"


def explanation(plan: Plan, entries: Sequence[Entry]) -> dict[str, Any]:
    """Return lines of a plan as JSON-ready data."""
    return {
        "schema": 1,
        "architecture": plan.architecture.name,
        "head": plan.head.name,
        "source_layout": plan.source.name,
        "target_layout": plan.target.name,
        "parameters": [
            entry.to_dict()
            | {
                "sources": list(entry.sources),
                "kind": entry.kind.value if entry.kind else None,
                "back": way_back(entry),
            }
            for entry in entries
        ],
    }
