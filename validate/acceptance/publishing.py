"""What is written last: the summary in every form, from the cells that are there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from mindport.migrate.console import write_whole
from mindport.validate.acceptance.folder import (
    CELLS,
    JUNIT,
    MARKDOWN,
    PAGE,
    SUMMARY,
    hashes_below,
    write_json,
)
from mindport.validate.acceptance.overview import render_markdown
from mindport.validate.acceptance.page import render_page
from mindport.validate.acceptance.summary import Summary
from mindport.validate.report.forms import load_form
from mindport.validate.report.forms.junit import clean_xml


def write_last(folder: Path, summary: Summary) -> None:
    """Write ``summary.json`` and its other forms."""
    write_json(folder / SUMMARY, summary.to_dict())
    for name, text in render_forms(summary, hashes_below(folder / CELLS)).items():
        write_whole(folder / name, text)


def render_forms(summary: Summary, files: Iterable[str]) -> dict[str, str]:
    """Return the other forms of a summary, by file name; the same summary gives the same text.

    Args:
        summary: The outcome.
        files: Paths of the files below ``cells/``.
    """
    content = summary.to_dict()
    return {
        MARKDOWN: render_markdown(summary.task, content),
        PAGE: render_page(content, {f"{CELLS}/{name}" for name in files}),
        JUNIT: _junit(summary),
    }


def _junit(summary: Summary) -> str:
    """Return one JUnit document: a suite of all demands, then every cell's own suite."""
    suites = ElementTree.Element("testsuites", name="mindport acceptance")
    demands = ElementTree.SubElement(suites, "testsuite", name="acceptance")
    for result in summary.results:
        name = result.cell.name
        for check in result.checks:
            case = ElementTree.SubElement(
                demands, "testcase", classname=f"acceptance.{name}", name=check.what
            )
            said = clean_xml(check.said)
            if check.status == "fail":
                ElementTree.SubElement(case, "failure", type="fail", message=said)
            elif check.status == "not-run":
                ElementTree.SubElement(case, "skipped", message=said)
        text = load_form("junit").render(result.verdict, "").text
        for suite in ElementTree.fromstring(text):  # noqa: S314 - we have just written it
            suite.set("name", f"{name}.{suite.get('name', '')}")
            suites.append(suite)
    for suite in (demands, suites):
        cases = list(suite.iter("testcase"))
        suite.set("tests", str(len(cases)))
        suite.set("errors", "0")
        for what, tag in (("failures", "failure"), ("skipped", "skipped")):
            suite.set(what, str(sum(case.find(tag) is not None for case in cases)))
    ElementTree.indent(suites)
    body = ElementTree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'
