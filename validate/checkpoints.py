"""The weights of both sides: embedded, random, from a path or a name; ported if need be."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mindport.migrate.architecture import Architecture, Kind
from mindport.migrate.checkpoints.formats import FORMATS
from mindport.migrate.checkpoints.hub import resolve_checkpoint
from mindport.migrate.checkpoints.layout import write_arrays
from mindport.migrate.checkpoints.locate import Checkpoint, open_checkpoint
from mindport.migrate.checkpoints.safetensors import safetensors_layout
from mindport.migrate.checkpoints.tensors import TensorInfo
from mindport.migrate.config import read_config_file, resolve_config
from mindport.migrate.detect import choose_head, detect_dialect, holds_embeddings
from mindport.migrate.dialect import TORCH
from mindport.migrate.dialects import DIALECTS
from mindport.migrate.errors import CheckpointError, ConfigError, MindportError, did_you_mean
from mindport.migrate.expected import expected_parameters
from mindport.migrate.manifest import changed_files, read_manifest, sha256_of
from mindport.migrate.porting import Prepared, port

EMBEDDED = "embedded"
RANDOM = "random"


def embedded_checkpoint(architecture: str, name: str = EMBEDDED) -> Path:
    """Return the folder of a small trained model that ships with the package.

    Args:
        architecture: A model type.
        name: ``embedded``, or ``embedded-NAME`` for the one in the folder ``ARCHITECTURE-NAME``;
            ``embedded-zh`` is Chinese.

    Raises:
        CheckpointError: If there is none of that name for this architecture.
    """
    folders = embedded_checkpoints(architecture)
    if not folders:
        raise CheckpointError(
            f"There are no embedded weights for {architecture!r}.",
            "Name some with --checkpoint: a folder of your own, or, where no tokenizer is needed, "
            "random.",
        )
    if name not in folders:
        raise CheckpointError(
            f"There are no weights {name!r} for {architecture!r}.{did_you_mean(name, folders)}",
            f"A folder of your own is meant? Write ./{name}.",
        )
    return folders[name]


def embedded_checkpoints(architecture: str) -> dict[str, Path]:
    """Return the folders of the embedded weights of an architecture, by the name to ask for."""
    root = Path(__file__).parent / "embedded"
    found = {EMBEDDED: root / architecture}
    for folder in sorted(root.glob(f"{architecture}-*")):
        found[f"{EMBEDDED}{folder.name.removeprefix(architecture)}"] = folder
    return {name: folder for name, folder in found.items() if (folder / "config.json").is_file()}


def default_checkpoint(architecture: str) -> str:
    """Return what is run when no weights are named: embedded ones, or random if there are none."""
    return EMBEDDED if embedded_checkpoints(architecture) else RANDOM


def is_embedded(checkpoint: str) -> bool:
    """Tell whether ``--checkpoint`` asks for weights that ship with the package."""
    return checkpoint == EMBEDDED or checkpoint.startswith(f"{EMBEDDED}-")


@dataclass(frozen=True)
class ReferenceChoice:
    """Which weights the reference runs.

    Attributes:
        checkpoint: ``embedded``, ``embedded-NAME``, ``random``, a path, or a model's name.
        config_file: The config for ``random``, or of weights that lie without one.
        size: A named size for ``random``.
        head: The head asked for, or None.
        seed: Of the random weights.
    """

    checkpoint: str
    config_file: Path | None
    size: str | None
    head: str | None
    seed: int


def reference_folder(architecture: Architecture, choice: ReferenceChoice, work: Path) -> Path:
    """Return a Hugging Face folder with the reference's weights, made in ``work`` if need be.

    Raises:
        MindportError: If the choice cannot be met.
    """
    if choice.checkpoint == RANDOM:
        return random_checkpoint(architecture, choice, work / "random")
    if choice.size is not None:
        raise MindportError("--size is for --checkpoint random.", "Leave it out.")
    if is_embedded(choice.checkpoint):
        if choice.config_file is not None:
            raise MindportError(
                "The embedded weights have a config of their own.",
                "Leave out --config, or use --checkpoint random with it.",
            )
        return embedded_checkpoint(architecture.name, choice.checkpoint)
    checkpoint = open_checkpoint(resolve_checkpoint(choice.checkpoint))
    if detect_dialect(checkpoint.reader.infos).name != "torch":
        raise CheckpointError(
            f"{checkpoint.path} is a ported checkpoint; the reference runs the original.",
            "validate … --checkpoint ORIGINAL --candidate-checkpoint PORTED",
        )
    if checkpoint.path.is_dir() and choice.config_file is None:
        return checkpoint.folder
    return _gather(checkpoint, choice.config_file, work / "reference")


def _gather(checkpoint: Checkpoint, config_file: Path | None, folder: Path) -> Path:
    """Link a weights file under the name that ``from_pretrained`` looks for, config beside it."""
    config = config_file or checkpoint.config_path
    if config is None:
        raise ConfigError(
            f"There is no config.json beside {checkpoint.path}.",
            "Put it there, or name it with --config FILE.",
        )
    read_config_file(config)
    folder.mkdir()
    files = checkpoint.reader.files
    if len(files) > 1:
        raise CheckpointError(
            f"{checkpoint.path} has several shards.", "Give the folder that holds its index."
        )
    (folder / FORMATS[checkpoint.reader.format].file_name).symlink_to(files[0].resolve())
    (folder / "config.json").symlink_to(config.resolve())
    for file in checkpoint.tokenizer_files:
        (folder / file.name).symlink_to(file.resolve())
    return folder


def random_checkpoint(architecture: Architecture, choice: ReferenceChoice, folder: Path) -> Path:
    """Write a random checkpoint as a Hugging Face folder.

    Matrices are drawn from N(0, 0.55 / sqrt(width)), which is 0.02 at width 768, so that every
    size has activations of the same scale. Unlike a fresh model, every bias and normalisation is
    perturbed by N(0, 0.1): two swapped ones would otherwise be the same.

    Raises:
        MindportError: If the size or the config is not usable.
    """
    config = _random_config(architecture, choice)
    resolved = resolve_config(architecture, config)
    head = choose_head(architecture, choice.head or architecture.default_head, config, (), TORCH)
    rng = np.random.default_rng(choice.seed)
    parameters = {
        p.spell(TORCH): p for p in expected_parameters(architecture, head, resolved, TORCH)
    }
    infos = {name: TensorInfo("float32", p.torch_shape) for name, p in parameters.items()}
    folder.mkdir()
    write_arrays(
        folder / "model.safetensors",
        safetensors_layout(infos, {"format": "pt"}),
        lambda name: _draw(rng, parameters[name].parameter.kind, infos[name].shape),
    )
    content = {**config, "model_type": architecture.name, "architectures": [head.class_name]}
    (folder / "config.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
    return folder


def _random_config(architecture: Architecture, choice: ReferenceChoice) -> dict[str, Any]:
    if choice.config_file is not None:
        if choice.size is not None:
            raise MindportError("--size and --config exclude each other.", "Leave one out.")
        return read_config_file(choice.config_file)
    size = choice.size or "tiny"
    if size not in architecture.sizes:
        raise MindportError(
            f"{architecture.title} has no size {size!r}.{did_you_mean(size, architecture.sizes)}"
        )
    config: dict[str, Any] = dict(architecture.sizes[size])
    # Special tokens that have no usual id are one and the same, the last: as GPT-2 has it.
    ids = [f for f in architecture.fields if f.name.endswith("_token_id")]
    last = config["vocab_size"] - 1
    return config | {f.name: last for f in ids if f.default is None}


def _draw(rng: np.random.Generator, kind: Kind, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) == 1:
        values = rng.standard_normal(shape, np.float32) * np.float32(0.1)
        return values + np.float32(1) if kind is Kind.NORM_WEIGHT else values
    width = shape[0] if kind is Kind.CONV1D else shape[-1]
    return rng.standard_normal(shape, np.float32) * np.float32(0.55 / np.sqrt(width))


@dataclass(frozen=True)
class Candidate:
    """The weights of the judged side.

    Attributes:
        folder: Weights and config in the backend's layout.
        notices: What a reader should know about them.
        origin: Where they came from, for the verdict.
    """

    folder: Path
    notices: tuple[str, ...]
    origin: str


def candidate_folder(prepared: Prepared, given: Path | None, dialect: str, work: Path) -> Candidate:
    """Return the candidate's weights: the given ones, or the reference's ported on the fly.

    Args:
        prepared: The plan of the reference's port.
        given: A ported folder or file, or None.
        dialect: The layout that the candidate's backend loads.
        work: Where to write.

    Raises:
        MindportError: If the given ones are not in that layout.
    """
    if given is None:
        if dialect == prepared.plan.source.name:
            return Candidate(prepared.source.folder, (), "the reference's own files")
        return Candidate(port(prepared, work / "candidate"), (), "ported on the fly")
    plan = prepared.plan
    source = {sha256_of(file) for file in prepared.source.reader.files}
    config_path = prepared.source.config_path
    return given_candidate(
        given, dialect, GivenFor(plan.architecture, plan.config, config_path, source), work
    )


@dataclass(frozen=True)
class GivenFor:
    """What weights that are given for the judged side are held against.

    Attributes:
        architecture: What they are to be.
        config: The reference's, resolved.
        config_path: Its file, for weights that lie without one.
        source: sha256 of the reference's weights files.
    """

    architecture: Architecture
    config: Mapping[str, Any]
    config_path: Path | None
    source: Collection[str]


def given_candidate(given: Path, dialect: str, against: GivenFor, work: Path) -> Candidate:
    """Return weights that are in the candidate's layout already.

    Args:
        given: Where they lie.
        dialect: The layout that the candidate's backend loads.
        against: What the reference runs.
        work: Where to write.

    Raises:
        MindportError: If they are not in that layout.
    """
    checkpoint = open_checkpoint(given)
    architecture, names = against.architecture, checkpoint.reader.infos
    for other in DIALECTS.values():
        if other.name != dialect and holds_embeddings(architecture, names, other):
            raise CheckpointError(
                f"{given} is in {other.name}'s layout; the candidate's backend loads {dialect}'s.",
                f"Port it first: migrate {architecture.name} {given} DST",
            )
    notices = _provenance_notices(checkpoint, against.source)
    if checkpoint.path.is_file() or checkpoint.config_path is None:
        config = checkpoint.config_path or against.config_path
        return Candidate(_gather(checkpoint, config, work / "candidate"), notices, str(given))
    notices += _config_notices(read_config_file(checkpoint.config_path), against)
    return Candidate(checkpoint.folder, notices, str(given))


def _provenance_notices(checkpoint: Checkpoint, source: Collection[str]) -> tuple[str, ...]:
    if checkpoint.manifest_path is None:
        return (f"{checkpoint.path} has no manifest: where it came from is not known",)
    notices = [
        f"{name} no longer matches its manifest's hash: it was changed after the port"
        for name in changed_files(checkpoint.folder)
    ]
    ported_from = set(read_manifest(checkpoint.manifest_path)["source"]["files"].values())
    if ported_from != set(source):
        notices.append("the candidate was ported from other weights than the reference runs")
    return tuple(notices)


def _config_notices(config: Mapping[str, Any], against: GivenFor) -> tuple[str, ...]:
    ours, theirs = resolve_config(against.architecture, config), against.config
    return tuple(
        f"config.json differs: {name} is {theirs[name]!r} for the reference, {ours[name]!r} for "
        "the candidate"
        for name in theirs
        if ours[name] != theirs[name]
    )
