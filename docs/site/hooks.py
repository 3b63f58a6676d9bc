"""What MkDocs needs to be told about this repository.

Pages link to files outside `docs/`, as they should where the repository is read. In the site a
Markdown file among those becomes a page under `project/`, any other file lies under `files/`, and
the links are turned there. Of a picture on another host its words stay. Names in code are found
though the packages lie at the top.
"""

from __future__ import annotations

import posixpath
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))
from commands import describe  # noqa: E402

PROJECT = "project"  # pages that lie outside docs/
FILES = "files"  # other files that are linked to

_LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")
_REMOTE = re.compile(r"!\[([^\]]*)\]\(https?://[^)]*\)")  # a picture that would be fetched
_FENCED = re.compile(r"^( *)```.*?^\1```", flags=re.MULTILINE | re.DOTALL)
_COMMANDS = re.compile(r"<!-- commands: (\w+) -->")
_scratch: list[tempfile.TemporaryDirectory] = []


@event_priority(100)  # mkdocstrings reads its paths in this event
def on_config(config: Any) -> Any:
    """Show mkdocstrings the package map of pyproject.toml, as a folder."""
    _scratch.append(tempfile.TemporaryDirectory())
    mapped = Path(_scratch[-1].name)
    (mapped / "mindport").symlink_to(ROOT, target_is_directory=True)
    handlers = config.plugins["mkdocstrings"].config.handlers
    handlers.setdefault("python", {})["paths"] = [str(mapped)]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Take in what pages link to outside docs/, and what those link to."""
    waiting = [(f"docs/{f.src_uri}", f.content_string) for f in files.documentation_pages()]
    seen = {source for source, _ in waiting}
    for name in _in_nav(config.nav):
        if name.startswith(f"{PROJECT}/"):
            waiting.append(_take(name.removeprefix(f"{PROJECT}/"), files, config))
            seen.add(waiting[-1][0])
    while waiting:
        source, text = waiting.pop()
        for target in _targets(source, text):
            if target not in seen and not target.startswith("docs/"):
                seen.add(target)
                waiting.append(_take(target, files, config))
    return files


def _in_nav(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    values = nav.values() if isinstance(nav, dict) else nav
    return [name for value in values for name in _in_nav(value)]


def _take(target: str, files: Files, config: Any) -> tuple[str, str]:
    """Add a file of the repository to the site; return it with its text, if it is a page."""
    path = ROOT / target
    if target.endswith(".md"):
        text = path.read_text(encoding="utf-8")
        files.append(File.generated(config, f"{PROJECT}/{target}", content=text))
        return target, text
    files.append(File.generated(config, f"{FILES}/{target}", abs_src_path=str(path)))
    return target, ""


def _targets(source: str, text: str) -> list[str]:
    """Return the files that a page links to, as paths from the root of the repository."""
    return [
        found
        for match in _LINK.finditer(_FENCED.sub("", text))
        if (found := _resolve(source, match[2])) is not None
    ]


def _resolve(source: str, link: str) -> str | None:
    """Return the file behind a link, or None if it leads out of the repository or nowhere."""
    if "://" in link or link.startswith("mailto:"):
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    path = ROOT / target
    if path.is_dir() and (path / "README.md").exists():
        target += "/README.md"
        path = ROOT / target
    return target if path.is_file() else None


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn the links of a page to where the site has their files."""
    uri = page.file.src_uri
    source = uri.removeprefix(f"{PROJECT}/") if uri.startswith(f"{PROJECT}/") else f"docs/{uri}"

    def turn(match: re.Match) -> str:
        target = _resolve(source, match[2])
        if target is None:
            return match[0]
        return match[1] + posixpath.relpath(_place(target), posixpath.dirname(uri)) + match[3]

    markdown = _LINK.sub(turn, _REMOTE.sub(r"\1", markdown))
    return _COMMANDS.sub(lambda match: describe(match[1]), markdown)


def _place(target: str) -> str:
    """Return where the site keeps a file of the repository."""
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return f"{PROJECT if target.endswith('.md') else FILES}/{target}"
