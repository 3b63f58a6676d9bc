"""Carry a plan out: write the weights file by file, read them back, publish them whole."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mindport.migrate.checkpoints.formats import FORMATS, Format
from mindport.migrate.checkpoints.locate import Checkpoint
from mindport.migrate.checkpoints.shards import index_content
from mindport.migrate.checkpoints.tensors import TensorInfo
from mindport.migrate.destination import check_destination, check_space
from mindport.migrate.errors import CheckpointError, DestinationError, MindportError
from mindport.migrate.manifest import make_manifest, read_manifest, sha256_of
from mindport.migrate.options import Options, Written
from mindport.migrate.progress import Listener, Stage
from mindport.migrate.streaming.feed import Feed
from mindport.migrate.streaming.fill import fill
from mindport.migrate.streaming.folder import WorkFolder, was_published, work_folder_of
from mindport.migrate.streaming.on_disk import OnDisk
from mindport.migrate.streaming.parts import Part, divide
from mindport.migrate.streaming.reading import Source, identify_files, source_order
from mindport.migrate.streaming.verify import DiffersError, Verifier
from mindport.migrate.streaming.weights import Weights
from mindport.migrate.streaming.worker import Worker
from mindport.migrate.target import target_config, target_metadata
from mindport.migrate.transfer import Transfer


def write_checkpoint(
    plan: Transfer,
    source: Checkpoint,
    destination: Path,
    config: Mapping[str, Any],
    options: Options,
    listener: Listener,
) -> Written:
    """Write the ported checkpoint as a folder: weights, config, tokenizer files, manifest.

    The folder appears whole or not at all. It is made beside its place; weights files that are
    whole when a process is killed are used by the next one with the same plan.

    Args:
        plan: What goes where.
        source: The open source.
        destination: The folder to make.
        config: The contents of the source's ``config.json``.
        options: How.
        listener: Hears how it goes on.

    Raises:
        DestinationError: If the folder exists or cannot be written.
        CheckpointError: If a tensor is not fit to be ported.
    """
    form = FORMATS[options.file_format]
    parts = divide(_in_order(plan, source), form, target_metadata(plan), options.max_shard_bytes)
    identity = _identify(plan, source, config, options)
    if was_published(destination, identity) or _is_there(plan, source, destination, options):
        shutil.rmtree(work_folder_of(destination), ignore_errors=True)
        listener.notice(f"{destination} was whole already when the last run was killed")
        return _recall(destination)
    check_destination(destination, options.force)
    if options.verify:
        source.reader.verify()  # checksums of its own; copying its bytes does not look at them
    left = 0
    try:
        with WorkFolder(destination, identity) as folder:
            try:
                left_to_write = (p.layout.size for p in parts if p.name not in folder.finished)
                check_space(left_to_write, folder.files, destination)
                writing = _Writing(plan, source, folder, options, listener)
                writing.write(parts)
                written = writing.finish(destination, config, form, parts)
                folder.publish(options.force)
            except MindportError:
                folder.remove()  # the same command would come to the same end
                raise
            finally:
                left = len(folder.finished)
    except OSError as error:
        raise DestinationError(
            f"{destination} could not be written: {error.strerror or error}.",
            "Free some space or choose another folder; "
            + (
                f"the same command goes on with what is finished ({left} of {len(parts)} files)."
                if left
                else "nothing was left behind."
            ),
        ) from None
    return written


class _Writing:
    """Writes and verifies one part after another."""

    def __init__(
        self, plan: Transfer, source: Checkpoint, folder: WorkFolder, options: Options,
        listener: Listener,
    ) -> None:  # fmt: skip
        self._plan, self._source, self._folder = plan, source, folder
        self._options, self._listener = options, listener
        self._sources: dict[Path, str] = {}
        self._kept: list[str] = []
        self._overflows: dict[str, int] = {}

    def write(self, parts: list[Part]) -> None:
        """Write all parts, or keep those that are there."""
        total = sum(part.layout.size for part in parts)
        self._listener.start(len(parts), total)
        writes = _Counter(self._listener, "write", total)
        reads = _Counter(self._listener, "verify", total)
        reader = self._source.reader
        with Source(reader, hashing=True) as source, Source(reader, hashing=False) as again:
            feed = Feed(self._plan, Weights(source), allow_overflow=self._options.allow_overflow)
            verifier = Verifier(self._plan, Weights(again))
            for part in parts:
                kept = self._keep(part, verifier)
                if kept:
                    self._kept.append(part.name)
                    writes.add(part.layout.size)
                    reads.add(part.layout.size)
                else:
                    digest = self._write(part, feed, verifier, writes, reads)
                    self._folder.finish(part.name, digest)
                digest = self._folder.finished[part.name]
                self._listener.part(part.name, part.layout.size, digest, kept)
            self._sources = source.hashes()
            source.check_unchanged()
            self._overflows = feed.overflows

    def _write(
        self, part: Part, feed: Feed, verifier: Verifier, writes: _Counter, reads: _Counter
    ) -> str:
        """Write a part; meanwhile read back what is on the disk. Return its sha256."""
        path, on_disk = self._folder.files / part.name, OnDisk()
        if not self._options.verify:
            return fill(part.layout, feed, path, writes.add, on_disk, hashing=True)
        digests: list[str] = []
        worker = Worker("verify")
        worker.put(
            lambda: digests.append(
                verifier.verify(path, part.layout, part.infos, on_disk, reads.count)
            )
        )

        def passed(size: int) -> None:
            worker.check()
            writes.add(size)
            reads.tell()

        try:
            # What comes back is hashed, once every byte of it was compared.
            fill(part.layout, feed, path, passed, on_disk, hashing=False)
            worker.close(reads.tell)
        except BaseException:
            on_disk.abandon()
            worker.stop()
            raise
        return digests[0]

    def _keep(self, part: Part, verifier: Verifier) -> bool:
        """Return whether a part was finished before and still is what it was."""
        if part.name not in self._folder.finished:
            return False
        path, size = self._folder.files / part.name, part.layout.size
        try:
            if not self._options.verify:
                digest = sha256_of(path)
            elif path.stat().st_size != size:
                raise DiffersError(f"{part.name} has another size")
            else:
                # Whether these bytes count is known at the end.
                digest = verifier.verify(
                    path, part.layout, part.infos, OnDisk(size), lambda _: None
                )
            if digest != self._folder.finished[part.name]:
                raise DiffersError(f"{part.name} read back differs from what was written")
        except (DiffersError, CheckpointError):
            self._listener.notice(f"{part.name} was changed since it was written; written again")
            self._folder.reject(part.name)
            return False
        self._listener.notice(f"{part.name} was finished before and is kept")
        return True

    def finish(
        self, destination: Path, config: Mapping[str, Any], form: Format, parts: list[Part]
    ) -> Written:
        """Write what lies beside the weights, the manifest last."""
        files = self._folder.files
        if config:
            _write_json(files / "config.json", target_config(self._plan, config))
        if len(parts) > 1:
            shards = {part.name: part.infos for part in parts}
            _write_json(files / form.index_name, index_content(shards, target_metadata(self._plan)))
        for file in self._source.tokenizer_files:
            shutil.copyfile(file, files / file.name)
        known = self._folder.finished
        hashes = {
            file.name: known.get(file.name) or sha256_of(file)
            for file in sorted(files.iterdir())
            if file.name != "manifest.json"
        }
        written = Written(
            destination,
            hashes,
            {path.name: digest for path, digest in self._sources.items()},
            self._options.verify,
            tuple(self._kept),
            self._overflows,
        )
        _write_json(files / "manifest.json", make_manifest(self._plan, self._source, written))
        return written


class _Counter:
    def __init__(self, listener: Listener, stage: Stage, total: int) -> None:
        self._listener, self._stage, self._total = listener, stage, total
        self.done = self._told = 0

    def count(self, size: int) -> None:
        """Note that more is done; another thread may."""
        self.done += size

    def tell(self) -> None:
        if self.done > self._told:
            self._told = self.done
            self._listener.progress(self._stage, self._told, self._total)

    def add(self, size: int) -> None:
        self.count(size)
        self.tell()


def _in_order(plan: Transfer, source: Checkpoint) -> dict[str, TensorInfo]:
    """Return what is written, in the order in which it lies in the source; new tensors last."""
    targets: dict[str, list[str]] = {}
    for entry in plan.entries:
        if entry.action == "ported":
            targets.setdefault(entry.sources[0], []).append(entry.target)
    names = [t for name in source_order(source.reader, targets) for t in targets[name]]
    names += [e.target for e in plan.entries if e.action == "generated"]
    written = plan.written
    return {name: written[name] for name in names}


def _identify(
    plan: Transfer, source: Checkpoint, config: Mapping[str, Any], options: Options
) -> str:
    """Return a digest of all that decides what is written."""
    identities = identify_files((*source.reader.files, *source.tokenizer_files))
    content = {
        "version": version("mindport"),
        "labels": plan.labels,
        "entries": [entry.to_dict() for entry in plan.entries],
        "config": config,
        "form": [options.file_format, options.max_shard_bytes, options.allow_overflow],
        "files": {str(path.resolve()): identity for path, identity in identities.items()},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _is_there(plan: Transfer, source: Checkpoint, destination: Path, options: Options) -> bool:
    """Return whether a process was killed when all was done but removing its folder's last bits.

    The journal is gone then, so the destination's own manifest must say that it is this port.
    """
    if options.force or not (destination.is_dir() and work_folder_of(destination).is_dir()):
        return False
    try:
        manifest = read_manifest(destination / "manifest.json")
        entries, sources = manifest["parameters"], manifest["source"]["files"]
    except (CheckpointError, KeyError, TypeError):
        return False
    hashes = {path.name: sha256_of(path) for path in source.reader.files}
    return bool([entry.to_dict() for entry in plan.entries] == entries and hashes == sources)


def _recall(folder: Path) -> Written:
    manifest = read_manifest(folder / "manifest.json")
    return Written(
        folder,
        manifest["files"],
        manifest["source"]["files"],
        manifest["verified"],
        overflows=manifest["overflowed"],
    )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
