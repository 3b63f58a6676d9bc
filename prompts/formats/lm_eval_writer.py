"""Write a task of lm-evaluation-harness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mindport.migrate.errors import MindportError
from mindport.prompts.formats.jinja_subset import Choice, write_choice, write_words
from mindport.prompts.formats.lines import plain_word
from mindport.prompts.formats.spec import PromptSpec, ends_with_answer, split_template
from mindport.prompts.formats.yaml_file import write_yaml

_METRICS = {"none": "acc", "characters": "acc_norm", "bytes": "acc_bytes"}


def write(spec: PromptSpec, path: Path) -> tuple[str, ...]:
    """Write the prefix template as a multiple-choice task.

    Args:
        spec: What to write; a template that ends with ``[Z]``, and words.
        path: The YAML file.

    Returns:
        What the file cannot hold, one sentence each.

    Raises:
        DestinationError: If the file exists or cannot be written.
        MindportError: If there is no such template, or no words.
    """
    template = spec.templates.get("prefix")
    if template is None or not ends_with_answer(template):
        raise MindportError(
            "lm-evaluation-harness scores what follows a text, so a prefix template is needed, "
            'which ends with "[Z]".'
        )
    if not spec.label_words:
        raise MindportError("A task needs label words.", "Give a verbalizer file.")
    words = {label: plain_word(entry[0]) for label, entry in spec.label_words.items()}
    if len(set(words.values())) < len(words):
        raise MindportError(f"Two labels have the same first word: {words}.")
    lost: list[str] = []
    prompt, gap = _prompt(spec, template)
    indices = tuple(spec.data.label_names) == tuple(words)
    content: dict[str, Any] = {"task": spec.name, **_data(spec, lost)}
    names = () if indices or list(words) == list(words.values()) else tuple(words)
    target = write_choice(Choice(spec.data.label, names))
    content |= {
        "output_type": "multiple_choice",
        "doc_to_text": prompt,
        "doc_to_target": f"{{{{{target}}}}}" if names else target,
        "doc_to_choice": list(words.values()),
        "target_delimiter": gap,
    }
    if spec.instruction:  # nothing follows it there; here the delimiter does
        delimiter = "\n" if spec.shot_delimiter is None else spec.shot_delimiter
        content["description"] = spec.instruction + delimiter
    if spec.shot_delimiter is not None:
        content["fewshot_delimiter"] = spec.shot_delimiter
    content |= {
        "metric_list": [
            {"metric": _METRICS.get(spec.normalize, "acc"), "aggregation": "mean"}
            | {"higher_is_better": True}
        ],
        "metadata": {"version": spec.version},
    }
    if indices and list(words) != list(words.values()):
        lost.append(f"The labels' names: {', '.join(words)}; the data hold their indices.")
    lost += _lost(spec)
    write_yaml(path, content)
    return tuple(lost)


def _prompt(spec: PromptSpec, template: str) -> tuple[str, str]:
    """Return the text before the answer as Jinja, and the space before the answer."""
    pieces = split_template(template.rstrip())[:-1]
    written = "".join(
        write_words(piece.value)
        if piece.role == "words"
        else f"{{{{{spec.data.text if piece.role == 'text' else piece.value}}}}}"
        for piece in pieces
    )
    if spec.data.jinja:
        written = written.replace(f"{{{{{spec.data.text}}}}}", spec.data.jinja)
    # The harness moves spaces at the end of the text to the answer; said here, it is plain.
    text = written.rstrip(" ")
    return text, written[len(text) :]


def _data(spec: PromptSpec, lost: list[str]) -> dict[str, Any]:
    source = spec.data.file
    if source.startswith("hf:"):
        name, _, split = source.removeprefix("hf:").partition(":")
        parts = name.split("/")
        config = parts.pop() if len(parts) > 2 else None
        found: dict[str, Any] = {"dataset_path": "/".join(parts)}
        return found | ({"dataset_name": config} if config else {}) | {"test_split": split}
    kinds = {".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}
    kind = kinds.get(Path(source).suffix)
    if kind is None:
        lost.append("Where the data are: fill in dataset_path and test_split.")
        return {}
    files = {"data_files": {"test": source}}
    return {"dataset_path": kind, "dataset_kwargs": files, "test_split": "test"}


def _lost(spec: PromptSpec) -> list[str]:
    lost = []
    for label, entry in spec.label_words.items():
        if len(entry) > 1:
            others = ", ".join(repr(plain_word(word)) for word in entry[1:])
            lost.append(f"The further words of label {label!r}: {others}.")
    if any(word.space is not None for entry in spec.label_words.values() for word in entry):
        lost.append("Whether a space stands before a word where the template does not say so.")
    if spec.templates.get("cloze") not in (None, spec.templates["prefix"]):
        lost.append("The cloze template.")
    if spec.normalize not in _METRICS:
        lost.append(f"The normalisation {spec.normalize!r}.")
    if spec.description:
        lost.append("The description: in this format that name is for the instruction.")
    return lost
