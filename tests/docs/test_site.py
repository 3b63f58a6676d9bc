"""The site is built without warnings or network, fetches nothing, and leaves out no public name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from importlib import import_module
from urllib.parse import unquote

import click
import pytest

from mindport.validate.umbrella import main
from tests.docs.blocks import ROOT

pytestmark = pytest.mark.xdist_group("site")  # it is built once

# Elements whose address the browser fetches by itself.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """Collects what is fetched, what is linked to, and what can be linked to."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.links, self.ids = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if given.get("id"):
            self.ids.add(given["id"])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in FETCHED and given.get(FETCHED[tag]) and given.get("rel") != "canonical":
            self.fetched.append(given[FETCHED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for needed in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(needed)
    folder = tmp_path_factory.mktemp("site")
    nowhere = "http://127.0.0.1:9"  # a build that asks the network fails
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)],
        cwd=ROOT,
        env={**os.environ, "http_proxy": nowhere, "https_proxy": nowhere,
             "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    found = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert len(found) > 30
    return found


def test_nothing_is_fetched_from_elsewhere(site, pages):
    for path, page in pages.items():
        for address in page.fetched:
            assert not re.match(r"(\w+:)?//", address), f"{path}: {address}"
    for path in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", path.read_text("utf-8")), path


def test_every_link_and_anchor_leads_somewhere(site, pages):
    for path, page in pages.items():
        for link in page.links:
            if re.match(r"\w+:", link) or path.name == "404.html":
                continue
            file, _, anchor = unquote(link).partition("#")
            target = (path.parent / file).resolve() if file else path
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{path.relative_to(site)}: {link}"
            if anchor and target.suffix == ".html":
                assert anchor in pages[target].ids, f"{path.relative_to(site)}: {link}"


def commands(command, name):
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in command.list_commands(context):
            yield from commands(command.get_command(context, each), f"{name} {each}")


@pytest.mark.parametrize("name", ["migrate", "validate", "prompts"])
def test_every_command_and_option_is_in_the_reference(site, name):
    text = unescape((site / "reference" / f"{name}.html").read_text(encoding="utf-8"))
    assert "Sentinel" not in text  # click's own mark of what is not set
    group = main.get_command(click.Context(main), name)
    for path, command in commands(group, name):
        assert re.search(rf"<h\d[^>]*>\s*(<code>)?{re.escape(path)}\b", text), path
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                record = option.get_help_record(click.Context(command, info_name=path))
                assert f"<code>{record[0]}</code>" in text, f"{path} {option.opts}"


@pytest.mark.parametrize("name", ["migrate", "validate", "prompts", "migrate.cells"])
def test_every_public_name_is_in_the_reference(site, pages, name):
    module = f"mindport.{name}"
    page = pages[site / "reference" / f"python-{name.rpartition('.')[2]}.html"]
    public = public_names(module)
    assert len(public) >= 4
    for each in public:
        assert any(i.startswith(f"{module}.") and i.endswith(f".{each}") for i in page.ids), each


def public_names(module):
    """Read ``__all__`` without importing a framework."""
    if module.endswith("cells"):
        text = (ROOT / "migrate" / "cells" / "__init__.py").read_text(encoding="utf-8")
        return re.findall(r'^    "(\w+)",$', text, flags=re.MULTILINE)
    return import_module(module).__all__
