"""Write the model card of a rebuilt model."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import transformers
from course import Course
from prompting import CLOZE, PREFIX, Model

ARCHITECTURES = {"gpt2": "GPT-2", "bert": "BERT"}
WARNINGS = {
    "gpt2": (
        "It is **not** the release of OpenAI that bears the name GPT-2, nor derived from it: it\n"
        "has its own vocabulary and started from random weights. Beside its prompts it is a\n"
        "weak language model; it does not write usable text."
    ),
    "bert": (
        "It is **not** one of Google's BERT releases, nor derived from one: it has its own\n"
        "vocabulary and started from random weights. Beside its prompts it is a weak masked\n"
        "language model. It has no pooler and no next-sentence head."
    ),
}
CLASSES = {"gpt2": "GPT2LMHeadModel", "bert": "BertForMaskedLM"}
TOKENIZERS = {"gpt2": "byte-level BPE, cased", "bert": "WordPiece, uncased"}
TEXT_TASKS = {"gpt2": "next-token", "bert": "masked-token"}


@dataclass(frozen=True)
class Figure:
    """An accuracy, and the number of rows it was measured on."""

    accuracy: float
    rows: int

    def __str__(self) -> str:
        return f"{self.accuracy:.3f} (n = {self.rows})"


def prompt(name: str, task: str) -> str:
    """Return a prompt as the task files write it."""
    if name == "gpt2":
        return f"`[X]{PREFIX[task]}[Z]`"
    return f"`{CLOZE[task].replace('[MASK]', '[Z]')}[X]`"


def render(
    folder: Path,
    name: str,
    course: Course,
    figures: Mapping[str, Figure],
    seconds: float,
    model: Model,
) -> str:
    """Return the card's text for the model stored in `folder`."""
    weights = (folder / "model.safetensors").read_bytes()
    values: dict[str, object] = {
        **asdict(course.plans[name]),
        **course.counts(),
        **{key.replace("-", "_"): figure for key, figure in figures.items()},
        "name": name,
        "title": ARCHITECTURES[name],
        **{f"{task.replace('-', '_')}_prompt": prompt(name, task) for task in course.tasks},
        "class_name": CLASSES[name],
        "warning": WARNINGS[name],
        "tokenizer": TOKENIZERS[name],
        "text_task": TEXT_TASKS[name],
        "vocabulary": model.config.vocab_size,
        "parameters": model.num_parameters(),
        "size": len(weights),
        "digest": hashlib.sha256(weights).hexdigest(),
        "error_200": (0.8 * 0.2 / 200) ** 0.5,
        "archives": "\n".join(f"- `{a.name}` sha256 `{a.sha256}`" for a in course.archives),
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    card = Path(__file__).with_name(f"card.{course.language}.md").read_text(encoding="utf-8")
    return card.format(**values)
