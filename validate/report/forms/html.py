"""One self-contained page: charts, tables, two languages, light and dark; opens offline."""

from __future__ import annotations

from mindport.validate.report.forms import Document, Form
from mindport.validate.report.page.making import make_page
from mindport.validate.verdict import Verdict


def _render(verdict: Verdict, name: str) -> Document:
    return Document(make_page(verdict))


FORM = Form("one page with charts, to open in a browser; needs mindport[report]", _render)
