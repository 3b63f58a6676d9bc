"""A verdict to files: what ``--report`` leaves behind, and a document with its pictures."""

from __future__ import annotations

from pathlib import Path

from mindport.migrate.console import write_whole
from mindport.migrate.errors import DestinationError, EnvironmentUnavailableError
from mindport.validate.report.forms import Document, load_form
from mindport.validate.verdict import Verdict

VERDICT_FILE = "verdict.json"
PAGE_FILE = "index.html"


def publish(folder: Path, verdict: Verdict) -> tuple[list[Path], str]:
    """Write ``verdict.json`` and, where the extra ``report`` is installed, ``index.html``.

    Args:
        folder: Made if it is not there.
        verdict: What to write.

    Returns:
        What was written, and why the page was not; empty if it was.

    Raises:
        DestinationError: If the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DestinationError(
            f"The report folder {folder} cannot be made: {error.strerror or error}.",
            "Choose another place.",
        ) from None
    data, page = folder / VERDICT_FILE, folder / PAGE_FILE
    write_whole(data, load_form("json").render(verdict, "").text)
    try:
        document = load_form("html").render(verdict, page.stem)
    except EnvironmentUnavailableError as error:
        page.unlink(missing_ok=True)  # an older one would show another verdict
        return [data], f"{error.message} {error.hint} Then: validate report {folder} --format html"
    write_whole(page, document.text)
    return [data, page], ""


def write_document(path: Path, document: Document, *, force: bool) -> list[Path]:
    """Write a document and its pictures, and return their paths.

    Raises:
        DestinationError: If one of them is there already and ``force`` is not given, or cannot be
            written.
    """
    texts = {path.parent / name: text for name, text in document.pictures.items()}
    texts[path] = document.text
    for target in texts:
        if target.exists() and not force:
            raise DestinationError(f"{target} is there already.", "Add --force to replace it.")
    for target, text in texts.items():
        write_whole(target, text)
    return list(texts)
