"""What a notebook shows: HTML that says what it was given, and nothing that it was not."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from mindport.validate.report.charts.errors import chart_errors
from mindport.validate.report.notebook import show_chart, show_table
from tests.validate.report.verdicts import HOSTILE


def test_a_table_says_its_cells_in_html_and_as_text():
    table = show_table(("tap", "used"), [("block.0", 0.5), ("logits", None)])
    parsed = ElementTree.fromstring(table._repr_html_())
    assert [cell.text for cell in parsed.iter("th")] == ["tap", "used"]
    assert [cell.text for cell in parsed.iter("td")] == ["block.0", "0.5", "logits", "None"]
    assert repr(table).splitlines() == ["tap      used", "block.0  0.5", "logits   None"]


def test_names_of_others_are_text():
    parsed = ElementTree.fromstring(show_table((HOSTILE,), [(HOSTILE,)])._repr_html_())
    assert [cell.text for cell in parsed.iter("th")] == [HOSTILE]
    assert [cell.text for cell in parsed.iter("td")] == [HOSTILE]
    assert {element.tag for element in parsed.iter()} == {
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }


def test_a_row_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="2 cells"):
        show_table(("a", "b"), [("1", "2"), ("1",)])


def test_a_table_without_rows_has_its_columns():
    assert "<th>a</th>" in show_table(("a",), [])._repr_html_()
    assert repr(show_table(("a",), [])) == "a"


def test_a_chart_is_drawn_with_its_title(verdicts):
    pytest.importorskip("vl_convert")
    chart = show_chart(chart_errors(verdicts["fail"], "isolated", "rms"), "Errors <alone>")
    drawn = ElementTree.fromstring(chart._repr_svg_())
    title = next(e for e in drawn.iter() if e.tag.endswith("title"))
    assert title.text == "Errors <alone>" == repr(chart)


def test_a_chart_without_figures_says_so():
    chart = show_chart(None, "Errors")
    assert chart._repr_svg_() is None
    assert repr(chart) == "Errors: no figures"
