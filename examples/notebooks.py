"""Execute the notebooks: store what came out, or say where it is not what is stored.

``python examples/notebooks.py`` (``make notebooks``) executes all of them, or those that are named,
and stores them; ``--check`` stores nothing, and fails if something else came out.

A cell with the tag ``varies`` shows figures that rounding or the machine decides: its words are
compared, its numbers and what it shows as code are not. Of a picture is compared that it is there.
All else has to be the same to the letter.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).parent
NOTEBOOKS = tuple(sorted(HERE.glob("*/*.ipynb")))
VARIES = "varies"
_NUMBER = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?")
_CODE = re.compile("`[^`]+`")
_DRAWN = re.compile("[▁▂▃▄▅▆▇█]+")
_BLANKS = re.compile(r"[ \t]+")  # numbers of another length move what stands beside them
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def execute(path: Path, timeout: int = 600) -> NotebookNode:
    """Execute a notebook in its folder and return it, clean; the file stays as it is.

    Args:
        path: The notebook.
        timeout: Seconds that a cell may take.

    Raises:
        CellExecutionError: If a cell raises; the message has its code and the traceback.
        CellTimeoutError: If a cell takes too long.
        ValueError: If there is something in an output that must not be stored.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        startup_timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    with tempfile.TemporaryDirectory() as scratch:
        client.execute(env=_environment(scratch))
    return clean(notebook)


def _environment(scratch: str) -> dict[str, str]:
    """Return an environment without a way to the network and without the user's own start files."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    return {
        **os.environ,
        **nowhere,
        **{name.upper(): value for name, value in nowhere.items()},
        "HF_HUB_OFFLINE": "1",
        "IPYTHONDIR": scratch,
        "TMPDIR": scratch,
        "NO_COLOR": "1",
        "OMP_WAIT_POLICY": "passive",
    }


def clean(notebook: NotebookNode) -> NotebookNode:
    """Return an executed notebook as it is stored: nothing in it that differs without need.

    Raises:
        ValueError: If a cell wrote to stderr, or an output names a place on this machine.
    """
    notebook.metadata = NotebookNode(
        kernelspec=NotebookNode(_KERNEL), language_info=NotebookNode(name="python")
    )
    here = {str(HERE.parent.resolve()), sys.prefix, str(Path.home()), tempfile.gettempdir()} - {"/"}
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = NotebookNode(tags=tags) if tags else NotebookNode()
        for output in cell.get("outputs", ()):
            if output.get("name") == "stderr":
                raise ValueError(f"the cell {cell.id!r} wrote to stderr: {output.text}")
            output.pop("transient", None)
            said = str(dict(output))
            if places := sorted(place for place in here if place in said):
                raise ValueError(f"an output of the cell {cell.id!r} names {', '.join(places)}")
    return notebook


def differences(stored: NotebookNode, new: NotebookNode) -> Iterator[str]:
    """Yield, cell by cell, what came out otherwise than is stored."""
    for before, after in zip(stored.cells, new.cells, strict=True):
        if before.cell_type != "code":
            continue
        varies = VARIES in before.metadata.get("tags", ())
        said, says = (_comparable(cell, varies) for cell in (before, after))
        if said != says:
            yield f"the cell {before.id!r} gave\n{says}\ninstead of\n{said}"


def _comparable(cell: NotebookNode, varies: bool) -> str:
    return "\n".join(_text(output, varies) for output in cell.outputs)


def _text(output: Mapping[str, Any], varies: bool) -> str:
    """Return what of an output is compared."""
    if output["output_type"] == "stream":
        text = str(output["text"])
    else:
        text = "\n".join(
            f"{kind}: {'(a picture)' if kind.startswith('image/') else content}"
            for kind, content in sorted(output["data"].items())
        )
    if varies:
        # The tap with the largest error may be another one, too.
        for pattern, sign in ((_CODE, "`…`"), (_NUMBER, "#"), (_DRAWN, "▁"), (_BLANKS, " ")):
            text = pattern.sub(sign, text)
    return text


def main() -> int:
    """Execute, and store or compare; return the exit code."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, help="by default all")
    parser.add_argument("--timeout", type=int, default=600, help="seconds that a cell may take")
    parser.add_argument("--check", action="store_true", help="store nothing; compare")
    arguments = parser.parse_args()
    failed = False
    for path in arguments.notebooks or NOTEBOOKS:
        start = time.monotonic()
        notebook = execute(path.resolve(), arguments.timeout)
        seconds = time.monotonic() - start
        changed = list(differences(nbformat.read(path, as_version=4), notebook))
        print(f"{path.name}: {seconds:.0f} s, {len(changed)} cells differ", flush=True)
        if arguments.check:
            print(*changed, sep="\n")
            failed = failed or bool(changed)
        else:
            nbformat.write(notebook, path)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
