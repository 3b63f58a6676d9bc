"""The verdict as JUnit XML, as CI servers read it: one test case per tap.

The elements and attributes are those that Jenkins and GitLab agree on
(https://github.com/testmoapp/junitxml). What was not compared is skipped, with the reason; a CI
that must not take that for a pass looks at the exit code as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from mindport.validate.diagnose.causes import CAUSES
from mindport.validate.report.forms import Document, Form
from mindport.validate.report.summary import (
    accepted_line,
    figure,
    identity_line,
    policy_line,
    share,
    state_of,
)
from mindport.validate.verdict import Diagnosis, TapResult, Verdict

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _render(verdict: Verdict, name: str) -> Document:
    base = f"validate.{verdict.architecture}.{verdict.head}"
    suites = ElementTree.Element("testsuites", name="mindport")
    cases = [
        _case_of_verdict(verdict, base),
        *_cases_of_taps(verdict, f"{base}.taps"),
        *_cases_of_gradients(verdict, f"{base}.gradients"),
        *_cases_of_prompts(verdict, f"{base}.prompts"),
    ]
    suite = ElementTree.SubElement(suites, "testsuite", name=clean_xml(base))
    if at := verdict.made.get("at"):
        suite.set("timestamp", at)
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in _properties(verdict):
        ElementTree.SubElement(properties, "property", name=key, value=clean_xml(value))
    suite.extend(cases)
    for element in (suites, suite):
        element.set("tests", str(len(cases)))
        element.set("failures", str(sum(case.find("failure") is not None for case in cases)))
        element.set("errors", "0")
        element.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    ElementTree.indent(suites)
    text = ElementTree.tostring(suites, encoding="unicode")
    return Document(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')


def _properties(verdict: Verdict) -> Iterator[tuple[str, str]]:
    for side, identity in verdict.identity.items():
        yield side, identity_line(identity)
    if verdict.policy:
        yield "tolerance", policy_line(verdict.policy)
    for accepted in verdict.accepted:
        yield "accepted", accepted_line(accepted)
    yield "verdict", verdict.verdict
    yield "headline", verdict.headline


def _case_of_verdict(verdict: Verdict, classname: str) -> ElementTree.Element:
    """Return the whole verdict as a case: it can fail although every tap is right."""
    case = _case(classname, "verdict")
    if verdict.verdict == "not-run":
        _skip(case, verdict.headline)
    elif verdict.exit_code:
        _fail(case, verdict.verdict, verdict.headline, "\n".join(verdict.notices))
    return case


def _cases_of_taps(verdict: Verdict, classname: str) -> Iterator[ElementTree.Element]:
    causes = {found.tap: found for found in verdict.diagnosis}
    for tap in verdict.taps:
        case = _case(classname, tap.name)
        if not tap.ok:
            _fail(case, state_of(tap), tap.problem, _figures(tap, causes.get(tap.name)))
        yield case
    for name in verdict.not_compared:
        case = _case(classname, name)
        _skip(case, verdict.headline if verdict.verdict == "not-run" else "it was not captured")
        yield case


def _figures(tap: TapResult, cause: Diagnosis | None) -> str:
    lines = [f"tolerance used: {share(tap.used)}"]
    for view in ("accumulated", "isolated"):
        both = getattr(tap, view)
        if both is not None:
            lines += [
                f"{view}, {side}: {figure(errors.absolute)} (rms); {figure(errors.rms)} times what "
                f"rounding predicts, allowed {figure(errors.limit_rms)}; at most "
                f"{figure(errors.peak)} times, allowed {figure(errors.limit_peak)}, at "
                f"{list(errors.worst_index)}"
                for side, errors in (("reference", both.reference), ("candidate", both.candidate))
            ]
    if tap.facts is not None:
        worst = list(tap.facts.worst_index or ())
        lines.append(f"largest difference: {figure(tap.facts.max_abs)} at {worst}")
    if cause is not None:
        how = "confirmed" if cause.confirmed else f"explains {cause.explained:.0%}"
        lines.append(f"cause: {CAUSES[cause.cause]}: {cause.detail} ({how})")
    return "\n".join(lines)


def _cases_of_gradients(verdict: Verdict, classname: str) -> Iterator[ElementTree.Element]:
    if verdict.gradients is None:
        return
    loss = _case(classname, "loss")
    if not verdict.gradients["loss_ok"]:
        figures = verdict.gradients["loss"]
        said = ", ".join(f"{side} {figure(value, 9)}" for side, value in figures.items())
        _fail(loss, "loss", said, verdict.gradients["problem"])
    yield loss
    for result in verdict.gradients["parameters"]:
        case = _case(classname, result["parameter"])
        if not result["ok"]:
            numbers = ("used", "size", "reference", "candidate", "allowed", "peak", "allowed_peak")
            text = "\n".join(f"{name}: {figure(result[name])}" for name in numbers)
            _fail(case, "gradient", result["problem"], text)
        yield case


def _cases_of_prompts(verdict: Verdict, classname: str) -> Iterator[ElementTree.Element]:
    for level in verdict.prompts["levels"] if verdict.prompts else ():
        case = _case(classname, level["name"])
        if level["ok"] is None:
            _skip(case, level["finding"])
        elif not level["ok"]:
            _fail(case, "prompts", level["finding"], "")
        yield case


def _case(classname: str, name: str) -> ElementTree.Element:
    return ElementTree.Element("testcase", classname=clean_xml(classname), name=clean_xml(name))


def _skip(case: ElementTree.Element, reason: str) -> None:
    ElementTree.SubElement(case, "skipped", message=clean_xml(reason))


def _fail(case: ElementTree.Element, kind: str, message: str, text: str) -> None:
    failure = ElementTree.SubElement(case, "failure", type=kind, message=clean_xml(message))
    failure.text = clean_xml(text)


def clean_xml(text: str) -> str:
    """Put a mark in the place of what XML cannot hold: control characters, lone surrogates."""
    return _NO_XML.sub("\ufffd", text)


FORM = Form("for a CI server: one test case per tap, gradient and prompt level", _render)
