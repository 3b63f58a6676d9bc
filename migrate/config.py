"""Read ``config.json`` against what an architecture needs: complete, typed, and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindport.migrate.architecture import REQUIRED, Architecture, Field, dimension
from mindport.migrate.computation import Score
from mindport.migrate.errors import ConfigError, did_you_mean
from mindport.migrate.positions import first_position, longest_sequence


def read_config_file(path: Path) -> dict[str, Any]:
    """Return the contents of a ``config.json``.

    Raises:
        ConfigError: If the file is absent, is not JSON, or is not an object.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no config at {path}.",
            "Put the model's config.json beside its weights, or name it with --config FILE.",
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}.") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{path} holds {type(config).__name__}, not a JSON object.")
    return config


def resolve_config(architecture: Architecture, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return every field that the port needs, defaults filled in, values checked.

    Args:
        architecture: The description to check against.
        config: The contents of ``config.json``.

    Returns:
        The architecture's fields and ``num_labels``; nothing else.

    Raises:
        ConfigError: If the model type is another, or a field is missing or impossible; all such
            problems are named at once.
    """
    model_type = config.get("model_type", architecture.name)
    if model_type != architecture.name:
        raise ConfigError(
            f"The config says model_type {model_type!r}, but {architecture.name!r} was asked for.",
            f"Use the architecture {model_type!r}, or another checkpoint.",
        )
    resolved: dict[str, Any] = {}
    problems: list[str] = []
    for field in architecture.fields:
        value = config.get(field.name)
        if value is None:
            if field.default is REQUIRED:
                near = did_you_mean(field.name, config).partition(" Known")[0]
                problems.append(f"it lacks {field.name!r}.{near}")
                continue
            value = field.default
            if field.dimension and isinstance(value, str):
                try:
                    value = dimension(value, resolved)
                except KeyError:  # the field it is made of is missing, which is reported
                    continue
        problem = _problem_with(field, value)
        if problem:
            problems.append(problem)
        resolved[field.name] = value
    resolved["num_labels"] = _label_count(config, problems)
    if not problems:
        problems.extend(_head_problems(architecture, resolved))
    if problems:
        raise ConfigError(
            f"The config does not describe a {architecture.title} that can be ported: "
            + "; ".join(problems)
            + ".",
            "Correct config.json; for a checkpoint from elsewhere, take the config it came with.",
        )
    return resolved


def _problem_with(field: Field, value: Any) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if field.dimension and not (whole and value > 0):
        return f"{field.name!r} is {value!r}, not a positive whole number"
    if field.allowed and value not in field.allowed:
        wanted = " or ".join(repr(choice) for choice in field.allowed)
        return f"{field.name!r} is {value!r}, but only {wanted} is implemented"
    if isinstance(field.default, float) and not isinstance(value, (int, float)):
        return f"{field.name!r} is {value!r}, not a number"
    return ""


def _label_count(config: Mapping[str, Any], problems: list[str]) -> int:
    # transformers keeps the number of labels as the size of id2label; its default is 2.
    labels = config.get("id2label")
    count = len(labels) if isinstance(labels, Mapping) else config.get("num_labels", 2)
    if not isinstance(count, int) or count < 1:
        problems.append(f"'num_labels' is {count!r}, not a positive whole number")
        return 2
    return count


def _head_problems(architecture: Architecture, config: Mapping[str, Any]) -> list[str]:
    body = architecture.heads[architecture.default_head]
    width = body.body[0].shape[-1]  # of the word embeddings
    heads = next(s.operation.heads for s in body.steps if isinstance(s.operation, Score))
    if config[width] % config[heads]:
        return [f"{width!r} {config[width]} is not a multiple of {heads!r} {config[heads]}"]
    if longest_sequence(architecture, config) < 1:
        rows, first = config[architecture.positions], first_position(architecture, config)
        return [f"{architecture.positions!r} {rows} has no row for the first position, {first}"]
    return []
