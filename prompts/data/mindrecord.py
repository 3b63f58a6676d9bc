"""Rows from a MindRecord file, read by MindSpore in a process of its own.

What turns data into prompts imports no framework: an import takes seconds, and MindSpore's errors
stick to the process. So :mod:`mindport.prompts.data.mindrecord_worker` reads the file elsewhere
and hands over JSON lines.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.prompts.data.jsonl import read_jsonl
from mindport.prompts.data.rows import Rows

_WORKER = "mindport.prompts.data.mindrecord_worker"
_NO_MINDSPORE = 3  # what the worker exits with when MindSpore cannot be imported
_LAST_WORDS = 400


def read_mindrecord(path: Path, *, python: Path | None = None, timeout: float = 300) -> Rows:
    """Return the rows of a MindRecord file; its ``.db`` must lie beside it.

    Fields of bytes and arrays, such as pictures and tokens, are left in the file.

    Args:
        path: The file, or the first of a sharded one.
        python: The interpreter that has MindSpore; None for this one.
        timeout: Seconds that reading may take.

    Raises:
        EnvironmentUnavailableError: If MindSpore cannot be imported there.
        MindportError: If the file cannot be read.
    """
    for needed in (path, path.with_name(f"{path.name}.db")):
        if not needed.is_file():
            raise MindportError(
                f"The data file {needed} cannot be read: No such file.",
                "A MindRecord is two files, x.mindrecord and x.mindrecord.db.",
            )
    with tempfile.TemporaryDirectory() as folder:
        destination = Path(folder) / "rows.jsonl"
        interpreter = str(python or sys.executable)
        command = [interpreter, "-m", _WORKER, str(path.resolve()), str(destination)]
        try:
            done = subprocess.run(  # noqa: S603 - our own module, in the user's interpreter
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MindportError(f"{path} could not be read within {timeout:g} seconds.") from None
        except OSError as error:
            raise EnvironmentUnavailableError(
                f"{interpreter} cannot be started: {error.strerror or error}."
            ) from None
        said = done.stdout.decode(errors="replace").strip()[-_LAST_WORDS:]
        if done.returncode == _NO_MINDSPORE:
            raise EnvironmentUnavailableError(
                f"{path} needs MindSpore, which {interpreter} cannot import: {said}.",
                "pip install 'mindport[mindspore]', or save the data as .jsonl.",
            )
        if done.returncode != 0:
            raise MindportError(f"{path} cannot be read as MindRecord: {said}.")
        rows = list(read_jsonl(destination).rows)
    return Rows(str(path), "row", rows)
