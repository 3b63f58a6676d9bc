"""The page is one file that needs nothing, says the same in both languages, and runs no name."""

from __future__ import annotations

import base64
import hashlib
import re
import string
from html.parser import HTMLParser

import pytest

from mindport.validate.report.forms import load_form
from mindport.validate.report.page.heat import heat_map
from mindport.validate.report.page.texts import read_catalogues, say
from tests.validate.report.verdicts import HOSTILE

NAMES = ("pass", "fail", "not-run", "everything")
VOID = {"meta", "link", "input", "br", "img"}


@pytest.fixture(scope="module")
def pages(verdicts, extra):
    return {name: load_form("html").render(verdicts[name], "").text for name in NAMES}


class Reader(HTMLParser):
    """Collects elements and complains of those that are not closed in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.ids = [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def placeholders(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_catalogues_have_the_same_keys_and_values():
    catalogues = read_catalogues()
    assert set(catalogues) == {"en", "zh"}
    assert set(catalogues["en"]) == set(catalogues["zh"])
    for key, text in catalogues["en"].items():
        other = catalogues["zh"][key]
        assert text, key
        assert other, key
        assert placeholders(text) == placeholders(other), key
        if key != "level_rows":  # logits are logits
            assert re.search(r"[\u4e00-\u9fff]", other), key


def test_no_text_is_left_over(verdicts, pages):
    from pathlib import Path

    import mindport.validate.report.page.texts as texts

    template = (Path(texts.__file__).parent / "page.html.j2").read_text()
    computed = ("cause_", "status_", "claim_", "state_", "level_", "fate_", "view_", "statistic_",
                "theme_", "heat_", "column_", "room_column_")  # fmt: skip
    for key in read_catalogues()["en"]:
        name = re.sub("_(title|text)$", "", key)
        assert f"'{name}" in template or key.startswith(computed), f"{key} is said nowhere"


def test_values_are_escaped():
    assert "<script>" not in say("and_more", n="<script>")
    assert "&lt;script&gt;" in say("and_more", n="<script>")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_whole_and_needs_nothing(pages, name):
    page = pages[name]
    reader = Reader(page)
    assert len(page.encode()) < 1_500_000
    assert len(reader.ids) == len(set(reader.ids))
    for tag, attributes in reader.elements:
        assert tag not in ("img", "iframe", "object", "embed", "base", "form"), tag
        assert not [key for key in attributes if key.startswith("on")]
        for key in ("src", "href", "xlink:href"):
            value = attributes.get(key, "#")
            assert value.startswith("#") or value == "data:,", value
        for key in ("aria-labelledby",):
            assert attributes.get(key, reader.ids[0]) in reader.ids
    assert not re.search(r"url\((?!#)|@import", page)
    assert sum(tag == "script" for tag, _ in reader.elements) == 1


@pytest.mark.parametrize("name", NAMES)
def test_only_our_script_may_run(pages, name):
    (script,) = re.findall(r"<script>(.*?)</script>", pages[name], flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in pages[name]
    assert "default-src 'none'" in pages[name]


def test_names_are_shown_and_not_run(pages):
    assert HOSTILE not in pages["everything"]
    assert pages["everything"].count("window.hit") >= 8
    assert "&lt;script&gt;window.hit" in pages["everything"]


def test_it_says_what_failed(pages, verdicts):
    page = pages["fail"]
    assert 'class="verdict fail"' in page
    place = [tap.name for tap in verdicts["fail"].taps].index("block.1.mlp")
    assert f'<a href="#row-taps-{place}"><code>block.1.mlp</code></a>' in page
    # Where there is a fault, the view in which it stands alone is shown first.
    assert re.search(r'data-view="isolated" data-statistic="rms">', page)
    assert re.search(r'data-view="accumulated" data-statistic="rms">', pages["pass"])


@pytest.mark.parametrize(
    ("name", "sections"),
    [
        ("pass", {"layers", "bits", "mapping", "circumstances"}),
        ("fail", {"layers", "bits", "circumstances"}),
        ("not-run", {"circumstances"}),
        ("everything", {"layers", "bits", "prompts", "gradients", "mapping", "circumstances"}),
    ],
)
def test_it_has_the_sections_that_there_is_something_to_say_in(pages, name, sections):
    found = {attributes.get("id") for tag, attributes in Reader(pages[name]).elements
             if tag == "section"}  # fmt: skip
    assert found - {None} == sections


def test_every_mark_has_its_row(pages):
    for page in pages.values():
        reader = Reader(page)
        marks = {attributes["data-row"] for _, attributes in reader.elements
                 if "data-row" in attributes}  # fmt: skip
        assert marks <= set(reader.ids)


def test_the_heat_map_says_what_is_outside(verdicts):
    verdict = verdicts["fail"]
    for measure in heat_map(verdict):
        assert [cell.tap for cell in measure.cells] == list(range(len(verdict.taps)))
    used = next(measure for measure in heat_map(verdict) if measure.key == "heat_used")
    for tap, cell in zip(verdict.taps, used.cells, strict=True):
        assert (cell.style in ("heat-4", "heat-5", "heat-6")) == (not tap.ok)


def test_what_the_verdict_says_is_told_in_both_languages(pages, verdicts):
    headline = re.search(r'<p class="reason">(.*?)</p>', pages["fail"]).group(1)
    english, chinese = re.findall(r'<span class="t" lang="(?:en|zh)">(.*?)</span>', headline)
    assert english == verdicts["fail"].headline
    assert "个出错的观测点中，第一个是 block.1.mlp" in chinese
    assert not re.search("[a-z]{3,} [a-z]{3,}", chinese)
    assert '<span lang="en">a notice</span>' in pages["not-run"]  # in no catalogue
