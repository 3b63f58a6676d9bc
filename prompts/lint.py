"""What is likely wrong with a prompt, found before anything runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mindport.migrate.errors import MindportError
from mindport.prompts.finding import LEVELS, Finding
from mindport.prompts.formats.spec import Piece, split_template
from mindport.prompts.lint_words import (
    boolean_findings,
    encode_words,
    list_words,
    token_findings,
    word_findings,
)
from mindport.prompts.tokenizer import PromptTokenizer

__all__ = ["Finding", "lint"]

_UNBALANCED = 3.0  # the most frequent label over the least frequent one
_SHOWN = 5


def lint(
    template: str,
    shape: str,
    label_words: Mapping[str, Sequence[Any]],
    tokenizer: PromptTokenizer | None = None,
    examples: Sequence[Any] = (),
    max_length: int = 512,
) -> list[Finding]:
    """Return what is likely wrong, the worst first.

    Args:
        template: In our language.
        shape: ``prefix`` for a language model, ``cloze`` for a masked one.
        label_words: For each label its words: texts, sequences of one text for each ``[Z]``, or
            objects with ``text`` and ``space``.
        tokenizer: Without one, what depends on tokens is not looked at.
        examples: Rows, with ``id``, ``text``, ``label`` and ``meta``.
        max_length: The most tokens in a prompt.
    """
    pieces = split_template(template)
    findings = [*_template_findings(pieces, shape), *boolean_findings(label_words)]
    words = list(list_words(label_words))
    findings += word_findings(words, label_words)
    if tokenizer is not None and any(piece.role == "answer" for piece in pieces):
        encoded, problems = encode_words(words, pieces, tokenizer)
        findings += [*problems, *token_findings(encoded, tokenizer, shape)]
        longest = max((sum(map(len, word.tokens)) for word in encoded), default=1)
        findings += _length_findings(pieces, tokenizer, examples, max_length, longest)
    findings += _data_findings(pieces, list(label_words), examples)
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _template_findings(pieces: Sequence[Piece], shape: str) -> Iterator[Finding]:
    roles = [piece.role for piece in pieces]
    if "answer" not in roles:
        yield Finding("error", "no-answer", "The template has no [Z].", "Write [Z] for the answer.")
        return
    if "text" not in roles:
        yield Finding("warning", "no-text", "The template has no [X], so it shows no text.")
    if roles.count("text") > 1:
        yield Finding("error", "text-twice", "The template has [X] more than once.")
    last = len(roles) - 1 - roles[::-1].index("answer")
    after = "".join("[…]" if p.role != "words" else p.value for p in pieces[last + 1 :])
    if shape == "prefix" and (after.strip() or roles.count("answer") > 1):
        yield Finding(
            "error",
            "mask-not-last",
            f"A language model never reads what follows [Z]: {after.strip() or 'a second [Z]'!r}.",
            "End a prefix template with its one [Z], or use the template as a cloze.",
        )
    elif shape == "prefix" and after:
        yield Finding("info", "space-after-answer", "White space after [Z] is never read.")
    for place, piece in enumerate(pieces):
        if piece.role != "answer":
            continue
        before = pieces[place - 1] if place else Piece("words", " ")
        if before.role != "words" or not before.value[-1:].isspace():
            yield Finding(
                "warning",
                "no-space-before-answer",
                "No space stands before [Z], so the answer is glued to what is before it.",
                'Write a space: "It was [Z]". Languages without spaces need none.',
            )
        elif before.value.endswith("  "):
            yield Finding(
                "warning",
                "spaces-before-answer",
                "Two spaces or more stand before [Z]; the model reads all but the last as text.",
                "Leave one.",
            )
    if pieces[0].role == "words" and pieces[0].value != pieces[0].value.lstrip():
        yield Finding("warning", "space-at-start", "The template begins with white space.")


def _length_findings(
    pieces: Sequence[Piece],
    tokenizer: PromptTokenizer,
    examples: Sequence[Any],
    max_length: int,
    longest: int,
) -> Iterator[Finding]:
    special = sum(index is not None for index in (tokenizer.cls_id, tokenizer.sep_id))
    cut, bad = [], []
    for example in examples:
        filled = "".join(_filled(piece, example) for piece in pieces)
        try:
            length = len(tokenizer.encode(filled)) + special + longest
        except MindportError as error:
            bad.append((example.id, error))
            continue
        if length > max_length:
            cut.append(example.id)
    if cut:
        yield Finding(
            "warning",
            "too-long",
            f"{len(cut)} of {len(examples)} prompts are longer than {max_length} tokens, so their "
            f"texts are cut: {_list(cut)}.",
            "Allow more tokens, or leave the rows out.",
        )
    if bad:
        yield Finding(
            "error",
            "special-token",
            f"{len(bad)} rows hold a special token: {_list(row for row, _ in bad)}. "
            f"{bad[0][1].message}",
            bad[0][1].hint,
        )


def _filled(piece: Piece, example: Any) -> str:
    if piece.role == "words":
        return piece.value
    value = {"text": example.text, "field": example.meta.get(piece.value, "")}.get(piece.role, "")
    return " ".join(str(value).split())


def _data_findings(
    pieces: Sequence[Piece], labels: Sequence[Any], examples: Sequence[Any]
) -> Iterator[Finding]:
    if not examples:
        return
    counts = Counter(example.label for example in examples)
    if unknown := sorted(set(counts) - set(map(str, labels))):
        yield Finding(
            "error", "unknown-label", f"Labels without words stand in the data: {_list(unknown)}."
        )
    if absent := [str(label) for label in labels if str(label) not in counts]:
        yield Finding(
            "warning", "absent-label", f"No row has the label {_list(absent)}.", "Is it spelt so?"
        )
    elif max(counts.values()) > _UNBALANCED * min(counts.values()):
        numbers = ", ".join(f"{label} {count}" for label, count in counts.most_common())
        yield Finding(
            "info",
            "unbalanced",
            f"The labels are unbalanced: {numbers}.",
            "Always giving the commonest has an accuracy above 1 / labels; read F1 too.",
        )
    texts = Counter(" ".join(example.text.split()) for example in examples)
    if repeated := sum(count - 1 for count in texts.values()):
        yield Finding("info", "duplicate-texts", f"{repeated} rows repeat the text of another.")
    for name in dict.fromkeys(piece.value for piece in pieces if piece.role == "field"):
        lacking = [e.id for e in examples if not str(e.meta.get(name, "")).strip()]
        if lacking:
            yield Finding(
                "error",
                "absent-field",
                f"{len(lacking)} rows have nothing in the field {name!r}: {_list(lacking)}.",
                "Fill it, or leave [" + name + "] out of the template.",
            )


def _list(names: Iterable[Any]) -> str:
    shown = [str(name) for name in names]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more
