"""The whole of ``migrate`` as two functions, prepare (plan only) and port; convert does both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mindport.migrate.architectures import load_architecture
from mindport.migrate.checkpoints.formats import FORMATS
from mindport.migrate.checkpoints.hub import resolve_checkpoint
from mindport.migrate.checkpoints.locate import Checkpoint, open_checkpoint
from mindport.migrate.checkpoints.tensors import FLOATS
from mindport.migrate.config import read_config_file, resolve_config
from mindport.migrate.detect import choose_head, detect_dialect, refuse_other_architecture
from mindport.migrate.dialect import TORCH
from mindport.migrate.dialects import DIALECTS
from mindport.migrate.errors import (
    ConfigError,
    DestinationError,
    MindportError,
    did_you_mean,
)
from mindport.migrate.options import Options, Written
from mindport.migrate.plan import Plan, make_plan
from mindport.migrate.progress import Caller, Listener, OnProgress
from mindport.migrate.transfer import Ready
from mindport.migrate.vocabulary import check_vocabulary
from mindport.migrate.writing import write_checkpoint


@dataclass(frozen=True)
class Prepared(Ready):
    """The plan of a known architecture with what it needs to be carried out."""

    plan: Plan


def prepare(
    source: str | Path,
    architecture: str,
    *,
    head: str | None = None,
    to: str | None = None,
    config_file: Path | None = None,
    dtype: str | None = None,
    allow_missing: bool = False,
    allow_unexpected: bool = False,
    allow_loss: bool = False,
    options: Options | None = None,
    vocabulary: int | None = None,
) -> Prepared:
    """Plan a port from the headers alone.

    Args:
        source: A folder, a weights file, or a model's name in the Hugging Face cache or hub.
        architecture: A model type: ``gpt2``, ``bert`` …
        head: The head to port; None takes the config's, or what the tensors show.
        to: A name in ``DIALECTS``; None takes MindSpore's from torch's, torch's from another.
        config_file: The config, when it is not beside the weights.
        dtype: Cast floating tensors to ``float32``, ``float16`` or ``bfloat16``.
        allow_missing: Give absent parameters their initial value.
        allow_unexpected: Leave unknown tensors behind.
        allow_loss: Leave behind what the target has no place for.
        options: How the plan will be carried out. With them, the layout may stay as it is if
            the dtype, the format or the number of files changes.
        vocabulary: How many tokens the target shall have: more are added, or the last left out.

    Raises:
        MindportError: For anything that does not fit; nothing has been written.
    """
    described = load_architecture(architecture)
    if dtype is not None and dtype not in FLOATS:
        raise MindportError(f"There is no dtype {dtype!r}.{did_you_mean(dtype, FLOATS)}")
    checkpoint = open_checkpoint(resolve_checkpoint(str(source)))
    config_path = config_file or checkpoint.config_path
    if config_path is None:
        raise ConfigError(
            f"There is no config.json beside {checkpoint.reader.files[0]}.",
            "Put the model's config.json there, or name it with --config FILE.",
        )
    config = read_config_file(config_path)
    resolved = resolve_config(described, config)
    if vocabulary is not None:
        check_vocabulary(vocabulary, config, checkpoint.folder)
    infos = checkpoint.reader.infos
    source_dialect = detect_dialect(infos)
    refuse_other_architecture(described, infos, source_dialect)
    target_name = to or ("mindspore" if source_dialect is TORCH else "torch")
    if target_name not in DIALECTS:
        raise MindportError(
            f"There is no layout {target_name!r}.{did_you_mean(target_name, DIALECTS)}"
        )
    if target_name == source_dialect.name and not _changes(checkpoint, dtype, options):
        raise MindportError(
            f"{checkpoint.path} is in {target_name}'s layout already.",
            f"Leave out --to {target_name}, or change something with --dtype, --format or "
            "--max-shard-size.",
        )
    plan = make_plan(
        described,
        choose_head(described, head, config, infos, source_dialect),
        resolved,
        infos,
        source=source_dialect,
        target=DIALECTS[target_name],
        dtype=dtype,
        allow_missing=allow_missing,
        allow_unexpected=allow_unexpected,
        allow_loss=allow_loss,
        vocabulary=vocabulary,
    )
    return Prepared(plan, checkpoint, config)


def _changes(source: Checkpoint, dtype: str | None, options: Options | None) -> bool:
    if options is None:
        return False
    return (
        dtype is not None
        or options.file_format != source.reader.format
        or options.max_shard_bytes is not None
        or len(source.reader.files) > 1
    )


def port(
    prepared: Prepared,
    destination: Path,
    *,
    file_format: str = "safetensors",
    force: bool = False,
    on_progress: OnProgress | None = None,
) -> Path:
    """Carry a prepared plan out and return the folder.

    Args:
        prepared: From :func:`prepare`.
        destination: The folder to make.
        file_format: ``safetensors``, ``torch``, ``ckpt`` or ``npz``.
        force: Replace a folder that exists.
        on_progress: Called with a :class:`Progress` whenever there is news.

    Raises:
        DestinationError: If the folder exists or cannot be written.
        CheckpointError: If a tensor is not fit to be ported.
    """
    options = Options(file_format=file_format, force=force)
    return carry_out(prepared, destination, options, _listener(on_progress, options)).folder


def convert(
    source: str | Path,
    destination: str | Path,
    architecture: str,
    *,
    head: str | None = None,
    to: str | None = None,
    config_file: str | Path | None = None,
    dtype: str | None = None,
    allow_missing: bool = False,
    allow_unexpected: bool = False,
    allow_loss: bool = False,
    vocabulary: int | None = None,
    options: Options | None = None,
    on_progress: OnProgress | None = None,
) -> Written:
    """Port a checkpoint, as ``migrate ARCHITECTURE SRC DST`` does.

    Args:
        source: A folder, a weights file, or a model's name in the Hugging Face cache or hub.
        destination: The folder to make.
        architecture: A model type: ``gpt2``, ``bert`` …
        head: As in :func:`prepare`, like all that follow.
        to: The layout to write.
        config_file: The config, when it is not beside the weights.
        dtype: Cast floating tensors.
        allow_missing: Give absent parameters their initial value.
        allow_unexpected: Leave unknown tensors behind.
        allow_loss: Leave behind what the target has no place for.
        vocabulary: How many tokens the target shall have.
        options: The format, the size of shards, and whether to verify, to replace …
        on_progress: Called with a :class:`Progress` whenever there is news.

    Returns:
        What was written, with the sha256 of every file.

    Raises:
        MindportError: For anything that does not fit; nothing has been written.
    """
    how = options or Options()
    prepared = prepare(
        source, architecture, head=head, to=to, dtype=dtype, allow_missing=allow_missing,
        config_file=None if config_file is None else Path(config_file), vocabulary=vocabulary,
        allow_unexpected=allow_unexpected, allow_loss=allow_loss, options=how,
    )  # fmt: skip
    return carry_out(prepared, Path(destination), how, _listener(on_progress, how))


def _listener(on_progress: OnProgress | None, options: Options) -> Listener | None:
    return None if on_progress is None else Caller(on_progress, verify=options.verify)


def carry_out(
    prepared: Ready,
    destination: Path,
    options: Options,
    listener: Listener | None = None,
) -> Written:
    """Carry a prepared plan out.

    Args:
        prepared: What, checked.
        destination: The folder to make.
        options: How.
        listener: Hears how it goes on.

    Raises:
        DestinationError: If the folder exists or cannot be written.
        CheckpointError: If a tensor is not fit to be ported.
    """
    check_format(options.file_format, prepared.plan.framework)
    if destination.resolve() == prepared.source.folder.resolve():
        raise DestinationError(
            f"{destination} is the source itself.", "Name another folder; the source is kept."
        )
    return write_checkpoint(
        prepared.plan,
        prepared.source,
        destination,
        prepared.config,
        options,
        listener or Listener(),
    )


def check_format(name: str, framework: str) -> None:
    """Raise unless a format exists and the framework of the target reads it.

    Raises:
        MindportError: With the formats that there are.
    """
    if name not in FORMATS:
        raise MindportError(f"There is no format {name!r}.{did_you_mean(name, FORMATS)}")
    if (name, framework) == ("ckpt", "torch"):
        raise MindportError(
            "The ckpt format is MindSpore's; torch cannot read it.", "Leave out --format."
        )
    if (name, framework) == ("torch", "mindspore"):
        raise MindportError(
            "The torch format is PyTorch's; MindSpore cannot read it.",
            "Leave out --format, or take ckpt.",
        )
