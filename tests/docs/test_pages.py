"""Every command and snippet of README.md and docs/ is run, page by page, or its reason is given.

`runs.yaml` has the exceptions. `DOCS_TIMES=FILE` appends what each command took, in seconds by the
clock and of the processor.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import LANGUAGES, PAGES, ROOT, blocks_of, commands_of
from tests.docs.prerequisites import NAMES, provide
from tests.docs.rules import Page, read_list
from tests.docs.runner import Runner

REASONS, RULES = read_list()


def commands_on(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    return [command.text for block in blocks_of(text) for command in commands_of(block)]


def is_run(page):
    blocks = blocks_of((ROOT / page).read_text(encoding="utf-8"))
    return any(b.language in ("sh", "console", "python", "yaml", "toml", "json") for b in blocks)


@pytest.mark.torch
@pytest.mark.mindspore
@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 11), reason="pages are written for Python 3.11")
@pytest.mark.parametrize("page", [page for page in PAGES if is_run(page)])
def test_page_runs(page, tmp_path, tmp_path_factory):
    pytest.importorskip("torch")
    pytest.importorskip("mindspore")
    rules = RULES.get(page, Page())
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "docs-shared"
    for name in rules.needs:
        provide(name, tmp_path, shared)
    runner = Runner(page, rules, tmp_path)
    try:
        runner.run((ROOT / page).read_text(encoding="utf-8"))
    finally:
        if "DOCS_TIMES" in os.environ:
            with Path(os.environ["DOCS_TIMES"]).open("a") as file:
                file.writelines(
                    f"{wall:7.1f} {processor:7.1f}  {page}  {name}\n"
                    for name, wall, processor in runner.done
                )


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page):
    for block in blocks_of((ROOT / page).read_text(encoding="utf-8")):
        assert block.language in LANGUAGES, f"{page}:{block.line}"
        if block.language == "text":
            first = block.text.split(maxsplit=1)[0]
            assert first not in ("$", "migrate", "validate", "mindport", "python", "pip", "make"), (
                f"{page}:{block.line}: a command, so sh or console"
            )


def test_no_fence_is_overlooked():
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        fences = sum(line.lstrip().startswith("```") for line in text.splitlines())
        assert fences == 2 * len(blocks_of(text)), page


def test_the_list_is_about_what_is_there():
    assert set(RULES) <= set(PAGES)
    for page, rules in RULES.items():
        shown = commands_on(page)
        assert not set(rules.commands) - set(shown), f"{page}: no longer there"
        assert set(rules.needs) <= NAMES, page
        snippets = [
            b
            for b in blocks_of((ROOT / page).read_text(encoding="utf-8"))
            if b.language == "python" and not b.title
        ]
        assert len(rules.python) <= len(snippets), page
        if rules.python_in:  # a test of these snippets, which names the page
            assert snippets, page
            assert Path(page).name in (ROOT / rules.python_in).read_text(encoding="utf-8"), page


def test_every_reason_is_used():
    used = {rule.skip for page in RULES.values() for rule in page.commands.values()}
    assert used - {None} == set(REASONS)


def test_what_is_run_elsewhere_is_run_there():
    for page, rules in RULES.items():
        for text, rule in rules.commands.items():
            if rule.elsewhere:
                assert rule.elsewhere != page
                assert text in commands_on(rule.elsewhere), f"{page}: {text}"
                there = RULES.get(rule.elsewhere, Page()).commands.get(text)
                assert there is None or not (there.skip or there.instead or there.elsewhere)
