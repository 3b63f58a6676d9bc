"""Charts draw the figures of the verdict, and nothing that a logarithm has not."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from mindport.validate.report.charts.drawing import draw
from mindport.validate.report.charts.errors import STATISTICS, VIEWS, chart_errors, labelled
from mindport.validate.report.charts.gradients import chart_gradients
from mindport.validate.report.charts.losses import chart_losses
from mindport.validate.report.charts.output import allowed_error, chart_output
from mindport.validate.report.charts.room import chart_room
from mindport.validate.report.charts.ulps import binned, chart_ulps, chart_ulps_of, shade, used_bins
from tests.validate.report.verdicts import HOSTILE, gradients, prompts


def rows(spec):
    return spec["data"]["values"]


def every_chart(verdict):
    yield from (chart_errors(verdict, view, what) for view in VIEWS for what in STATISTICS)
    yield from (chart_ulps(verdict), chart_ulps_of(verdict.taps[-1]), chart_output(verdict))
    yield from (chart_room(prompts()["room"]), chart_gradients(gradients()["parameters"]))
    yield chart_losses({"reference": [2.0, 1.0], "candidate": [2.0, 1.5]})


def test_errors_are_those_of_the_taps(verdicts):
    verdict = verdicts["fail"]
    for view in VIEWS:
        for what in ("rms", "peak"):
            for row, tap in zip(rows(chart_errors(verdict, view, what)), verdict.taps, strict=True):
                both = getattr(tap, view)
                assert row["tap"] == tap.name
                assert row["candidate"] == (getattr(both.candidate, what) or None)
                assert row["reference"] == (getattr(both.reference, what) or None)
                assert row["limit"] == getattr(both.candidate, f"limit_{what}")
    states = {row["tap"]: row["state"] for row in rows(chart_errors(verdict, "isolated", "rms"))}
    assert (states["block.1.mlp"], states["block.0"], states["logits"]) == (
        "faulty",
        "ok",
        "follows",
    )
    absolute = rows(chart_errors(verdict, "accumulated", "absolute"))
    last = verdict.taps[-1]
    assert absolute[-1]["floor"] == last.deviation
    assert absolute[-1]["limit"] == last.accumulated.candidate.limit_rms * last.deviation


def test_a_point_is_above_the_line_where_its_tap_is_outside(verdicts):
    for row, tap in zip(
        rows(chart_errors(verdicts["fail"], "isolated", "rms")), verdicts["fail"].taps, strict=True
    ):
        assert (row["candidate"] > row["limit"]) == (not tap.isolated.candidate.ok)


def test_what_has_no_figures_is_a_gap(verdicts):
    first, *rest = verdicts["pass"].taps
    verdict = replace(
        verdicts["pass"], taps=(replace(first, accumulated=None, isolated=None, facts=None), *rest)
    )
    assert rows(chart_errors(verdict, "accumulated", "rms"))[0]["candidate"] is None
    assert first.name not in {row["tap"] for row in rows(chart_ulps(verdict))}
    bare = [replace(tap, accumulated=None, isolated=None, facts=None) for tap in verdict.taps]
    empty = replace(verdict, taps=tuple(bare), sample=None)
    assert chart_errors(empty, "isolated", "peak") is None
    assert chart_ulps(empty) is chart_ulps_of(bare[0]) is chart_output(empty) is None
    assert allowed_error(empty) is chart_room([]) is None


def test_zeros_are_not_drawn_on_a_logarithm(verdicts):
    tap = verdicts["pass"].taps[0]
    errors = replace(tap.accumulated.candidate, rms=0.0)
    still = replace(tap, accumulated=replace(tap.accumulated, candidate=errors))
    verdict = replace(verdicts["pass"], taps=(still, *verdicts["pass"].taps[1:]))
    assert rows(chart_errors(verdict, "accumulated", "rms"))[0]["candidate"] is None


def test_names_do_not_run_into_the_fault(verdicts):
    for name in ("pass", "fail"):
        shown = labelled(verdicts[name])
        places = [tap.name for tap in verdicts[name].taps]
        assert shown == [tap for tap in places if tap in shown]
        assert {"embeddings", "block.0", "logits"} <= set(shown)
    assert "block.1.mlp" in labelled(verdicts["fail"])


def test_distances_add_up(verdicts):
    for tap in verdicts["fail"].taps:
        counts = binned(tap.facts)
        assert sum(counts.values()) == tap.facts.compared
    spec = chart_ulps_of(verdicts["fail"].taps[-1])
    assert sum(row["share"] for row in rows(spec)) == pytest.approx(1)
    assert used_bins([{"0": 1, "1": 0, "2": 1, "3-4": 0}]) == ["0", "1", "2"]
    assert [shade(part) for part in (0, 1e-9, 1e-3, 0.3, 1)] == [0, 0, 2, 4, 5]


def test_losses_are_those_of_every_step_of_both_sides():
    spec = chart_losses({"reference": [2.0, 1.0], "candidate": [2.0, 1.5]})
    assert [(row["side"], row["step"], row["loss"]) for row in rows(spec)] == [
        ("reference", 1, 2.0), ("reference", 2, 1.0), ("candidate", 1, 2.0), ("candidate", 2, 1.5),
    ]  # fmt: skip
    assert chart_losses({}) is None


def test_an_item_is_certified_if_its_bound_is_below_the_diagonal():
    spec = chart_room(prompts()["room"])
    for row, item in zip(rows(spec), prompts()["room"], strict=True):
        if not item["flipped"]:
            assert (row["state"] == "certified") == (row["bound"] < row["margin"])
    assert [row["state"] for row in rows(spec)[:3]] == ["flipped", "flipped", "open"]


def test_every_chart_is_drawn_without_words(verdicts, extra):
    for spec in every_chart(verdicts["everything"]):
        svg = draw(spec)
        root = ElementTree.fromstring(svg)
        assert root.tag.endswith("svg")
        assert "NaN" not in svg.replace(HOSTILE, "")
        assert not root.findall(".//*[@role]")
        assert "aria-" not in svg
        assert "undefined" not in svg


def test_marks_point_at_rows(verdicts, extra):
    root = ElementTree.fromstring(draw(chart_errors(verdicts["fail"], "isolated", "rms")))
    found = {mark.get("data-row") for mark in root.iter() if mark.get("data-row")}
    assert found == {f"row-taps-{i}" for i in range(len(verdicts["fail"].taps))}


def test_names_are_text_and_nothing_else(verdicts, extra):
    taps = [
        replace(tap, name=HOSTILE) if tap.name == "block.0" else tap
        for tap in verdicts["pass"].taps
    ]
    svg = draw(chart_errors(replace(verdicts["pass"], taps=tuple(taps[:30])), "isolated", "rms"))
    root = ElementTree.fromstring(svg)
    assert not [
        element for element in root.iter() if element.tag.split("}")[-1] in ("script", "img")
    ]
    assert any((text.text or "").startswith("<script>") for text in root.iter())
