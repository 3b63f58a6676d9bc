"""Files as other tools have them."""

from __future__ import annotations

import pytest

COURSE_TEMPLATE = '{"placeholder":"text_a"} It was {"mask"}\n'
COURSE_WORDS = '{"negative": ["bad"], "positive": ["good", "wonderful", "great"]}\n'


@pytest.fixture
def write(tmp_path):
    def put(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return put


@pytest.fixture
def course(write):
    """The template and the verbalizer of the course's GPT-2 notebook."""
    return write("template.txt", COURSE_TEMPLATE), write("verbalizer.json", COURSE_WORDS)
