"""Tasks of lm-evaluation-harness: those that choose one of fixed choices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.prompts.formats.format import Format
from mindport.prompts.formats.jinja import JinjaTemplate
from mindport.prompts.formats.jinja_subset import Beyond, Choice, name_text, parse_choice, scan
from mindport.prompts.formats.lines import safe_name
from mindport.prompts.formats.lm_eval_writer import write
from mindport.prompts.formats.spec import (
    SHAPES,
    DataSource,
    LabelWord,
    Piece,
    PromptSpec,
    join_template,
)
from mindport.prompts.formats.yaml_file import YamlFile

# fmt: off
_USED = (
    "task", "dataset_path", "dataset_name", "test_split", "validation_split",
    "training_split", "doc_to_text", "doc_to_target", "doc_to_choice", "description",
    "fewshot_delimiter", "target_delimiter", "output_type", "metric_list", "metadata",
    "include", "dataset_kwargs",
)
# fmt: on
_NORMALIZATIONS = {"acc": "none", "acc_norm": "characters", "acc_bytes": "bytes"}
_DEEPEST = 8  # includes of includes


def read(path: Path, *, text: str | None = None, root: Path | None = None) -> PromptSpec:
    """Read a task.

    Args:
        path: Its YAML file.
        text: The field that becomes ``[X]``; by default the first that the prompt shows.
        root: The folder that included files must lie in; by default the file's.

    Raises:
        MindportError: If the file is not so, is a task of another kind, or code stands in it; the
            message gives line and key.
    """
    file, content = _with_includes(path, root or path.parent)
    kind = content.get("output_type")
    if kind != "multiple_choice":
        raise file.error(
            "output_type",
            f"this is {kind!r}, and only multiple_choice can be scored",
            "Tasks that generate text, or score all of it, have no label words.",
        )
    if content.get("use_prompt"):
        raise file.error("use_prompt", "the prompt is PromptSource's", "Read its templates.yaml.")
    labels, words = _choices(file, content)
    choice = _target(file, content)
    if choice.names and len(choice.names) != len(words):
        raise file.error("doc_to_target", f"{len(choice.names)} names for {len(words)} choices")
    normalize, notes = _metrics(file, content)
    notes += [f"The key {key!r}." for key in content if key not in _USED]
    version, more = _version(content)
    source, missing = _data(content)
    instruction = file.text(content.get("description") or "", "description", empty=True)
    delimiter = _delimiter(file, content, "fewshot_delimiter", "\n\n")
    if instruction and not instruction.endswith(delimiter):
        notes.append("That nothing stands behind the description: here the delimiter follows it.")
    try:
        template, field, jinja = _prompt(file, content, text)
        return PromptSpec(
            name=safe_name(Path(str(content.get("task") or path.stem))),
            description=f"The task {content.get('task') or path.stem} of lm-evaluation-harness.",
            templates=dict.fromkeys(SHAPES, template),
            label_words=dict(zip(choice.names or labels, words, strict=True)),
            normalize=normalize,
            instruction=instruction.removesuffix(delimiter),
            shot_delimiter=delimiter,
            data=DataSource(
                file=source,
                text=field,
                label=choice.field,
                label_names=() if choice.names else labels,
                jinja=jinja,
            ),
            version=version,
            notes=(*notes, *more, *missing),
        )
    except EnvironmentUnavailableError:
        raise
    except MindportError as error:
        if error.message.startswith(str(file.path)):
            raise
        raise file.error("doc_to_text", error.message.rstrip("."), error.hint) from None


def _with_includes(
    path: Path, root: Path, seen: tuple[Path, ...] = ()
) -> tuple[YamlFile, dict[str, Any]]:
    file = YamlFile(path)
    content = file.mapping(file.content, "")
    wanted = content.get("include")
    if wanted is None:
        return file, content
    base = path.parent / file.text(wanted, "include")
    try:
        resolved = base.resolve()
        absent = not resolved.is_file()
    except (OSError, ValueError, RuntimeError):  # no name of a file, or links in a circle
        absent = True
    if absent:
        raise file.error("include", f"there is no file {str(wanted)[:80]!r} beside this one")
    if not resolved.is_relative_to(root.resolve()):
        raise file.error(
            "include",
            f"{wanted!r} lies outside the folder {root}",
            "Give the folder that holds both files as root.",
        )
    if resolved in seen or len(seen) >= _DEEPEST:
        raise file.error("include", f"{wanted!r} includes itself, or includes go too deep")
    _, included = _with_includes(base, root, (*seen, path.resolve(), resolved))
    return file, {**included, **content}


def _choices(
    file: YamlFile, content: dict[str, Any]
) -> tuple[tuple[str, ...], list[tuple[LabelWord]]]:
    found = content.get("doc_to_choice")
    if not isinstance(found, list):
        raise file.error(
            "doc_to_choice",
            f"the choices must be a list that is the same for every row, not {str(found)[:80]!r}",
            'Write doc_to_choice: ["no", "yes"].',
        )
    written = [file.text(word, f"doc_to_choice[{place}]") for place, word in enumerate(found)]
    labels = tuple(word.strip() for word in written)
    if len(set(labels)) < len(labels) or len(labels) < 2:
        raise file.error("doc_to_choice", f"two choices or more are needed, all different: {found}")
    spaced = not _delimiter(file, content, "target_delimiter", " ")
    return labels, [
        (LabelWord(word.strip(), space=True if spaced and word[0] == " " else None),)
        for word in written
    ]


def _target(file: YamlFile, content: dict[str, Any]) -> Choice:
    target = content.get("doc_to_target")
    written = file.text(target, "doc_to_target").strip()
    inner = written[2:-2] if written.startswith("{{") and written.endswith("}}") else written
    choice = parse_choice(inner)
    if choice is None:
        raise file.error(
            "doc_to_target",
            f"{written[:80]!r} is neither a field nor ['a', 'b'].index(field)",
            "Add the right choice, or its index, to the data as a field.",
        )
    return choice


def _prompt(file: YamlFile, content: dict[str, Any], text: str | None) -> tuple[str, str, str]:
    """Return the template, the field of [X], and the Jinja that makes the text, if any."""
    written = file.text(content.get("doc_to_text"), "doc_to_text")
    gap = _delimiter(file, content, "target_delimiter", " ")
    answer = (Piece("words", gap), Piece("answer"))
    if written.isidentifier():  # the name of a field
        return join_template((Piece("text"), *answer)), written, ""
    pieces = scan(written)
    if isinstance(pieces, Beyond):
        JinjaTemplate(written)  # refused now rather than when the data are read
        return join_template((Piece("text"), *answer)), "text", written
    named, field = name_text(pieces, text)
    return join_template((*named, *answer)), field, ""


def _delimiter(file: YamlFile, content: dict[str, Any], key: str, usual: str) -> str:
    value = content.get(key)
    return usual if value is None else file.text(value, key, empty=True)


def _metrics(file: YamlFile, content: dict[str, Any]) -> tuple[str, list[str]]:
    entries = content.get("metric_list") or []
    if not isinstance(entries, list):
        raise file.error("metric_list", "a list is needed")
    names = [str(entry.get("metric")) for entry in entries if isinstance(entry, dict)]
    rules = [name for name in names if name in _NORMALIZATIONS]
    notes = [f"The metric {name!r}." for name in names if name not in _NORMALIZATIONS]
    if len(rules) > 1:
        notes.append(f"Of the metrics {', '.join(rules)} only {rules[0]!r}.")
    return _NORMALIZATIONS[rules[0]] if rules else "none", notes


def _version(content: dict[str, Any]) -> tuple[int, list[str]]:
    metadata = content.get("metadata")
    version = metadata.get("version", 1) if isinstance(metadata, dict) else 1
    whole = isinstance(version, int | float) and not isinstance(version, bool)
    if whole and float(version).is_integer() and version >= 1:
        return int(version), []
    return 1, [f"The version {version!r}: here it is a whole number from 1 up."]


def _data(content: dict[str, Any]) -> tuple[str, list[str]]:
    """Return the file or hub name of the rows, and what could not be said so."""
    name, extra = content.get("dataset_path"), content.get("dataset_kwargs")
    keys = [key for key in ("test_split", "validation_split") if content.get(key)]
    split = content[keys[0]] if keys else None
    if not isinstance(name, str) or not isinstance(split, str):
        return "", []
    if name in ("json", "csv", "parquet"):
        files = extra.get("data_files") if isinstance(extra, dict) else None
        file = files.get(split) if isinstance(files, dict) else files
        return (file, []) if isinstance(file, str) else ("", ["The files of the data."])
    config = content.get("dataset_name")
    source = f"hf:{name}/{config}:{split}" if config else f"hf:{name}:{split}"
    return source, ["The key 'dataset_kwargs'."] if extra else []


def _looks_like(path: Path, text: str) -> bool:
    return "doc_to_text:" in text or "doc_to_choice:" in text


FORMAT = Format(
    "lm_eval",
    "lm-evaluation-harness: YAML tasks with output_type multiple_choice",
    read,
    ("text", "root"),
    _looks_like,
    write,
)
