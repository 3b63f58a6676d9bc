"""PromptSource's ``templates.yaml``: Jinja templates that pick one of their answer choices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError, did_you_mean
from mindport.prompts.formats.format import Format
from mindport.prompts.formats.jinja import JinjaTemplate
from mindport.prompts.formats.jinja_subset import Beyond, name_text, parse_answer, scan
from mindport.prompts.formats.lines import safe_name
from mindport.prompts.formats.spec import (
    SHAPES,
    DataSource,
    LabelWord,
    Piece,
    PromptSpec,
    check_text,
    join_template,
)
from mindport.prompts.formats.yaml_file import YamlFile

_TAGS = frozenset({"!Template", "!TemplateMetadata"})
_SPLIT = "|||"
_NAMING = "Name one with the option template."


def read(path: Path, *, template: str | None = None, text: str | None = None) -> PromptSpec:
    """Read one template of a file.

    A prompt of words and fields becomes a template of ours. One with loops, conditions or filters
    becomes ``[X]``, whose text Jinja renders while the data are read.

    Args:
        path: A ``templates.yaml``.
        template: Its name or id; needed if the file has several.
        text: The field that becomes ``[X]``; by default the first that the prompt shows.

    Raises:
        MindportError: If the file is not so, its choices differ from row to row, or its answer is
            not one of them; the message gives line and key.
    """
    file = YamlFile(path, _TAGS)
    content = file.mapping(file.content, "")
    templates = file.mapping(content.get("templates"), "templates")
    key, entry = _pick(file, templates, template)
    name = file.text(entry.get("name", key), f"{key}.name")
    choices = _choices(file, entry, key)
    prompt, found, answer = file.text(entry.get("jinja"), f"{key}.jinja").partition(_SPLIT)
    if not found or _SPLIT in answer:
        problem = f"prompt and answer must be parted by one {_SPLIT}"
        raise file.error(f"{key}.jinja", problem)
    choice = parse_answer(answer)
    if choice is None:
        raise file.error(
            f"{key}.jinja",
            f"the answer {answer.strip()[:80]!r} is not {{{{answer_choices[label]}}}}",
            "Only prompts that pick one of their choices can be scored.",
        )
    if choice.names and len(choice.names) != len(choices):
        problem = f"{len(choice.names)} labels for {len(choices)} choices"
        raise file.error(f"{key}.jinja", problem)
    try:
        shown, field, jinja = _prompt(prompt.strip(), choices, text)
        return PromptSpec(
            name=safe_name(Path(name)),
            description=f"The PromptSource template {name!r} of {_dataset(content)}.",
            templates=dict.fromkeys(SHAPES, join_template(shown)),
            label_words={
                label: (LabelWord(word),)
                for label, word in zip(choice.names or choices, choices, strict=True)
            },
            data=DataSource(
                text=field,
                label=choice.field,
                label_names=() if choice.names else choices,
                jinja=jinja,
            ),
            notes=_notes(entry, content, jinja),
        )
    except EnvironmentUnavailableError:
        raise
    except MindportError as error:
        raise file.error(f"{key}.jinja", error.message.rstrip("."), error.hint) from None


def template_names(path: Path) -> tuple[str, ...]:
    """Return the names of a file's templates.

    Raises:
        MindportError: If the file is not so.
    """
    file = YamlFile(path, _TAGS)
    templates = file.mapping(file.mapping(file.content, "").get("templates"), "templates")
    return tuple(str(_entry(file, key, value).get("name", key)) for key, value in templates.items())


def _pick(
    file: YamlFile, templates: dict[str, Any], wanted: str | None
) -> tuple[str, dict[str, Any]]:
    entries = {f"templates.{key}": _entry(file, key, value) for key, value in templates.items()}
    names = {str(entry.get("name", key)): key for key, entry in entries.items()}
    if wanted is None and len(entries) == 1:
        key = next(iter(entries))
    elif wanted is None:
        raise file.error("templates", f"there are {len(entries)}: {', '.join(names)}", _NAMING)
    elif f"templates.{wanted}" in entries:
        key = f"templates.{wanted}"
    elif wanted in names:
        key = names[wanted]
    else:
        known = did_you_mean(wanted, names).rstrip(".")
        raise file.error("templates", f"there is none called {wanted!r}.{known}")
    return key, entries[key]


def _entry(file: YamlFile, key: str, value: Any) -> dict[str, Any]:
    return file.mapping(value, f"templates.{key}")


def _choices(file: YamlFile, entry: dict[str, Any], key: str) -> tuple[str, ...]:
    place = f"{key}.answer_choices"
    if entry.get("answer_choices") is None:
        raise file.error(
            place, "there are no answer choices", "Only prompts with choices can be scored."
        )
    written = file.text(entry["answer_choices"], place)
    if "{{" in written or "{%" in written:
        raise file.error(
            place,
            f"the choices {written[:80]!r} differ from row to row",
            "Here the words of a label are the same for every row.",
        )
    choices = tuple(choice.strip() for choice in written.split(_SPLIT))
    try:
        for choice in choices:
            check_text(choice, "A choice")
    except MindportError as error:
        raise file.error(place, error.message.rstrip("."), error.hint) from None
    if len(set(choices)) < len(choices):
        raise file.error(place, f"a choice stands twice in {written!r}")
    return choices


def _prompt(
    prompt: str, choices: tuple[str, ...], text: str | None
) -> tuple[tuple[Piece, ...], str, str]:
    """Return the pieces with the answer after a space, the field of [X], and the Jinja, if any."""
    pieces = scan(prompt, choices)
    answer = (Piece("words", " "), Piece("answer"))
    if not isinstance(pieces, Beyond):
        named, field = name_text(pieces, text)
        return (*named, *answer), field, ""
    jinja = f"{{% set answer_choices = {list(choices)!r} %}}{prompt}"
    if "answer_choices" not in prompt:
        jinja = prompt
    JinjaTemplate(jinja)  # refused now rather than when the data are read
    return (Piece("text"), *answer), "text", jinja


def _dataset(content: dict[str, Any]) -> str:
    parts = [str(content[key]) for key in ("dataset", "subset") if content.get(key)]
    return "/".join(parts) or "an unnamed data set"


def _notes(entry: dict[str, Any], content: dict[str, Any], jinja: str) -> tuple[str, ...]:
    notes = []
    if content.get("dataset"):
        notes.append(f"The data set {_dataset(content)!r}: say which file or split to read.")
    metadata = entry.get("metadata")
    metrics = metadata.get("metrics") if isinstance(metadata, dict) else None
    if metrics and metrics != ["Accuracy"]:
        notes.append(f"The metrics {metrics}.")
    if isinstance(metadata, dict) and metadata.get("original_task") is False:
        notes.append("The prompt is not for the data set's original task.")
    notes.append("PromptSource cuts every field to 2,048 characters; here a prompt is cut to fit.")
    notes.append(
        "White space in a field becomes one space, so line breaks that Jinja makes are lost."
        if jinja
        else "White space in a field becomes one space."
    )
    return tuple(notes)


def _looks_like(path: Path, text: str) -> bool:
    return "!Template" in text


FORMAT = Format(
    "promptsource",
    "PromptSource: templates.yaml with Jinja templates and answer choices",
    read,
    ("template", "text"),
    _looks_like,
)
