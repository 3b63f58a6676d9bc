"""What a notebook shows beside a verdict: tables and charts, as Jupyter asks an object for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from mindport.validate.report.charts.drawing import Spec, draw_alone


@dataclass(frozen=True)
class Table:
    """Rows of text, for the last line of a cell.

    Attributes:
        columns: Their names.
        rows: The cells of each.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __repr__(self) -> str:
        lines = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )

    def _repr_html_(self) -> str:
        head, *body = (
            "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in line)
            for tag, lines in (("th", [self.columns]), ("td", self.rows))
            for line in lines
        )
        rows = "\n".join(f"<tr>{cells}</tr>" for cells in body)
        return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>"


@dataclass(frozen=True)
class Chart:
    """A drawing, for the last line of a cell.

    Attributes:
        title: What it shows, for those who do not see it.
        svg: The drawing; empty if there was nothing to draw.
    """

    title: str
    svg: str

    def __repr__(self) -> str:
        return self.title if self.svg else f"{self.title}: no figures"

    def _repr_svg_(self) -> str | None:
        return self.svg or None


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table.

    Args:
        columns: Their names.
        rows: The cells of each; they show as ``str`` has them, without markup.

    Raises:
        ValueError: If a row has more or fewer cells than there are columns.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    if any(len(row) != len(columns) for row in cells):
        raise ValueError(f"a row has not {len(columns)} cells, as many as there are columns")
    return Table(columns, cells)


def show_chart(spec: Spec | None, title: str) -> Chart:
    """Return a chart.

    Args:
        spec: From a function of :mod:`mindport.validate.report.charts`; None if it had no figures.
        title: What it shows, for those who do not see it.

    Raises:
        EnvironmentUnavailableError: If the extra ``report`` is not installed.
    """
    return Chart(title, "" if spec is None else draw_alone(spec, title))
