"""The verdict as JSON; its form is ``validate/verdict.schema.json``."""

from __future__ import annotations

import json

from mindport.validate.report.forms import Document, Form
from mindport.validate.verdict import Verdict


def _render(verdict: Verdict, name: str) -> Document:
    return Document(json.dumps(verdict.to_dict(), indent=2, ensure_ascii=False) + "\n")


FORM = Form("all figures, for programs; validate/verdict.schema.json describes it", _render)
