from __future__ import annotations

import contextlib
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.prompts import PromptDataset
from mindport.prompts.formats.jinja import LONGEST_TEXT, JinjaTemplate
from mindport.prompts.formats.jinja_subset import (
    Beyond,
    Choice,
    parse_answer,
    parse_choice,
    scan,
    write_choice,
)
from mindport.prompts.formats.spec import Piece

ROW = {"text": "a good film", "words": ["x", "y"], "label": 1, "none": None, "d": {"k": "v"}}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ text }}!\n", "a good film!\n"),
        ("{% if label == 1 %}yes{% else %}no{% endif %}", "yes"),
        ("{% for w in words %}{{ loop.index }}: {{ w }}\n{% endfor %}", "1: x\n2: y\n"),
        ("{{ words | join(', ') }} {{ text | upper | replace('GOOD', 'bad') }}", "x, y A bad FILM"),
        ("{{ text.split(' ')[1] }} {{ text[:6] }} {{ d.k }} {{ d['k'] }}", "good a good v v"),
        ("{% set answer_choices = ['no', 'yes'] %}{{ answer_choices[label] }}", "yes"),
        ("{{ 'a' ~ label }} {{ label + 1 }} {{ ['no', 'yes'][label] }}", "a1 2 yes"),
        ("{{ none or '-' }}{{ absent | default('+') }}{{ none | default('*') }}", "-+*"),
        ("{{ 'x' in words and text is string and not none }}", "True"),
        ("{{ text | title | trim | length }} {{ words | first }}{{ words | last }}", "11 xy"),
        ("{# a note #}{% raw %}{{ text }}{% endraw %}", "{{ text }}"),
    ],
)
def test_rendering(template, text):
    assert JinjaTemplate(template).render(ROW) == text


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ ''.__class__.__mro__ }}", "line 1: the attribute '__mro__' is not allowed"),
        ("\n{{ text.__init__.__globals__ }}", "line 2: the attribute '__globals__'"),
        ("{{ text['__class__'] }}", "cannot be rendered"),
        ("{{ range(10**9)|list }}", "is not allowed"),
        ("{{ range(3) }}", "a call is not allowed"),
        ("{{ text * 1000000000 }}", "'Mul' is not allowed"),
        ("{{ 10 ** 10 }}", "'Pow' is not allowed"),
        ("{{ '%999999999d' % 1 }}", "'Mod' is not allowed"),
        ("{{ '{:999999999}'.format(1) }}", "a call is not allowed"),
        ("{{ text.replace('', 'aaaa') }}", "a call is not allowed"),
        ("{{ text.split(*words) }}", "a call is not allowed"),
        ("{{ text | center(999999999) }}", "the filter 'center'"),
        ("{{ words | random }}", "the filter 'random'"),
        ("{{ words | attr('x') }}", "the filter 'attr'"),
        ("{{ words | map('upper') }}", "the filter 'map'"),
        ("{{ words | choice }}", "the filter 'choice'"),
        ("{% include '/etc/passwd' %}", "'Include' is not allowed"),
        ("{% import 'x' as x %}", "'Import' is not allowed"),
        ("{% extends 'x' %}", "'Extends' is not allowed"),
        ("{% macro f() %}{{ f() }}{% endmacro %}", "'Macro' is not allowed"),
        ("{% block b %}{% endblock %}", "'Block' is not allowed"),
        ("{% filter upper %}x{% endfilter %}", "'FilterBlock' is not allowed"),
        ("{% set a = text ~ text %}", "setting a name to more than a constant"),
        ("{% for a in text %}{% for b in text %}{% endfor %}{% endfor %}", "a loop in a loop"),
        ("{% for a in words recursive %}{% endfor %}", "a loop in a loop"),
        ("{{ text is divisibleby 3 }}", "the test 'divisibleby'"),
        ("{{ lipsum(n=100) }}", "a call"),
        ("{{ cycler }}", "'cycler' is undefined"),
        ("{{ absent }}", "'absent' is undefined"),
        ("{{ none }}", "shows a field that is empty"),
        ("{{ text + 1 }}", "cannot be rendered"),
        ("{{ words[7] }}", "cannot be rendered"),
        ("{{ text", "line 1 cannot be read"),
        ("{% if %}", "line 1 cannot be read"),
        ("{{ " + "(" * 5000, "cannot be read"),
        ("{{ 1" + "+1" * 5000 + " }}", "cannot be read"),
        ("x" * 30_000, "30000 characters"),
    ],
)
def test_refusals(template, said):
    with pytest.raises(MindportError) as caught:
        JinjaTemplate(template).render(ROW)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "template",
    [
        "{{ text" + " | replace('a', 'aaaaaaaaaaaaaaaaaaaa')" * 20 + " }}",
        "{% for c in text %}" + "{{ text }}" * 200 + "{% endfor %}",
        "{{ " + " ~ ".join(["text"] * 200) + " }}",
        "{% set l = ['" + "a" * 9000 + "'] %}{% for c in text %}{{ l | join }}{% endfor %}",
    ],
)
def test_bombs_do_not_go_off(template):
    start = time.monotonic()
    with pytest.raises(MindportError, match=f"more than {LONGEST_TEXT} characters"):
        JinjaTemplate(template).render({"text": "a" * 1000})
    assert time.monotonic() - start < 5


def test_a_row_may_be_too_long():
    with pytest.raises(MindportError, match="more than"):
        JinjaTemplate("{{ a | length }}").render({"a": "x" * (LONGEST_TEXT + 1)})


def test_rendering_leaves_the_row_alone():
    row = {"words": ["x"]}
    with pytest.raises(MindportError):
        JinjaTemplate("{{ words.append('y') }}").render(row)
    assert row == {"words": ["x"]}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "{{",
                "}}",
                "{%",
                "%}",
                "if",
                "else",
                "endif",
                "for",
                "in",
                "endfor",
                "set",
                "text",
                "words",
                "[",
                "]",
                "(",
                ")",
                "|",
                ".",
                "join",
                "replace",
                "'a'",
                "1",
                "+",
                "~",
                "==",
                "not",
                "label",
                "none",
                "loop",
                ".",
                "_",
                "__class__",
                "*",
                "range",
                ",",
                "d",
                "endset",
                "{#",
                "#}",
                "-",
            ]
        ),
        max_size=12,
    )
)
def test_any_template_gives_a_text_or_a_sentence(tokens):
    with contextlib.suppress(MindportError):
        assert isinstance(JinjaTemplate(" ".join(tokens)).render(ROW), str)


def test_jinja_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(EnvironmentUnavailableError, match="needs Jinja") as caught:
        JinjaTemplate("{{ text }}")
    assert "mindport[formats]" in caught.value.hint


def test_it_renders_a_data_set(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": "x", "b": ["y", "z"], "label": "0"}\n{"a": "x", "label": "0"}\n')
    template = JinjaTemplate("{{ a }}: {{ b | join('+') }}")
    with pytest.raises(MindportError, match=r"x\.jsonl, line 2: .*'b' is undefined"):
        PromptDataset.from_file(path, render=template)
    path.write_text(path.read_text().splitlines()[0])
    assert PromptDataset.from_file(path, render=template)[0].text == "x: y+z"


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        (
            "{{a}} or {{ b }}?",
            [Piece("field", "a"), Piece("words", " or "), Piece("field", "b"), Piece("words", "?")],
        ),
        (
            "{{answer_choices[1]}} {{ answer_choices | join(', ') }}",
            [Piece("words", "yes no, yes")],
        ),
        ("", []),
    ],
)
def test_the_simple_part_needs_no_jinja(text, pieces):
    found = scan(text, ("no", "yes"))
    merged = []
    for piece in found:
        if merged and piece.role == merged[-1].role == "words":
            merged[-1] = Piece("words", merged[-1].value + piece.value)
        else:
            merged.append(piece)
    assert merged == pieces


@pytest.mark.parametrize(
    "text",
    ["{{a|upper}}", "{% if a %}", "{{ a", "{# x #}", "{{-a}}", "{{a.b}}", "{{answer_choices[9]}}"],
)
def test_what_is_beyond_it(text):
    assert isinstance(scan(text, ("no", "yes")), Beyond)


def test_choices():
    assert parse_answer(" {{ answer_choices[label] }}\n") == Choice("label")
    named = Choice("y", ("a'b", "c"))
    assert parse_choice(write_choice(named)) == named
    assert parse_answer("{{answer_choices[['x', 'y'].index(gold)]}}") == Choice("gold", ("x", "y"))
    for wrong in ("label", "{{label}}", "{{answer_choices[label-1]}}", "{{answer_choices[a]}}."):
        assert parse_answer(wrong) is None
    for wrong in ("['a', 'a'].index(y)", "[f()].index(y)", "[1].index(y)", "[.index(y)", "a b"):
        assert parse_choice(wrong) is None
