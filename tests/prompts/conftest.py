"""Tiny tokenizers, a tiny task, and rows of logits for them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from mindport.prompts import PromptDataset, PromptTokenizer, Task, load_task, make_plan

WORDS = ["bad", "terrible", "good", "great", "It", "was", "film", "the", "Topic", "sport"]
ROWS = [
    ("a", "the film was good", "positive"),
    ("b", "bad  film", "negative"),
    ("c", "the great film: it's great, really great!", "positive"),
    ("d", "terrible", "negative"),
    ("e", "the film was good", "positive"),
]
TASK = """
version: 3
description: A tiny task.
data: {file: rows.jsonl, text: text, label: label}
labels:
  - {name: negative, words: [bad, terrible]}
  - {name: positive, words: [good, great]}
templates:
  prefix: "[X] It was [Z]"
  cloze: "It was [Z] . [X]"
chance: 0.5
"""


@pytest.fixture(scope="session")
def bpe_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Byte-level BPE in all the files that a GPT-2 folder has."""
    folder = tmp_path_factory.mktemp("bpe")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = [f" {word}" for word in WORDS] * 20 + [f"{word}" for word in WORDS[:4]] * 20
    text += ["\n\n"] * 20  # GPT-2 has this token too, and reads it only where no word follows
    tokenizer.train_from_iterator(text, trainer)
    tokenizer.model.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def wordpiece_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uncased WordPiece vocabulary as ``vocab.txt`` alone."""
    folder = tmp_path_factory.mktemp("wordpiece")
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".,:!'[]<>|", *letters]
    vocab += [f"##{letter}" for letter in letters] + [word.lower() for word in WORDS] + ["mask"]
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def masked_bpe_folder(tmp_path_factory: pytest.TempPathFactory, bpe_folder: Path) -> Path:
    """The same byte-level BPE with RoBERTa's special tokens, and as its folders, unnamed."""
    folder = tmp_path_factory.mktemp("masked-bpe")
    content = json.loads((bpe_folder / "tokenizer.json").read_text())
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    words = sorted(content["model"]["vocab"], key=content["model"]["vocab"].get)
    vocab = {word: index for index, word in enumerate([*special, *words[1:], "<mask>"])}
    content["model"]["vocab"] = vocab
    content["added_tokens"] = [
        {
            "id": vocab[token],
            "content": token,
            "single_word": False,
            "lstrip": token == "<mask>",
            "rstrip": False,
            "normalized": token == "<mask>",
            "special": True,
        }
        for token in (*special, "<mask>")
    ]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "vocab.json").write_text(json.dumps(vocab))
    shutil.copy(bpe_folder / "merges.txt", folder)
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 512}')
    return folder


@pytest.fixture(scope="session")
def bpe(bpe_folder: Path) -> PromptTokenizer:
    return PromptTokenizer.from_folder(bpe_folder)


@pytest.fixture(scope="session")
def wordpiece(wordpiece_folder: Path) -> PromptTokenizer:
    return PromptTokenizer.from_folder(wordpiece_folder)


@pytest.fixture(scope="session")
def task_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("task")
    rows = [json.dumps({"id": i, "text": t, "label": label}) for i, t, label in ROWS]
    (folder / "rows.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "tiny.yaml").write_text(TASK, encoding="utf-8")
    return folder / "tiny.yaml"


@pytest.fixture(scope="session")
def task(task_file: Path) -> Task:
    return load_task(task_file)


@pytest.fixture(scope="session")
def data(task: Task) -> PromptDataset:
    return task.read_data()


@pytest.fixture
def plan(task, bpe):
    return make_plan(task, bpe, architecture_shape="prefix", max_length=64, batch_size=2)


@pytest.fixture
def rows(plan) -> np.ndarray:
    """Random logits, float32 (items, rows_per_item, vocabulary)."""
    rng = np.random.default_rng(0)
    shape = (plan.items, plan.rows_per_item, plan.tokenizer_size)
    return rng.normal(size=shape).astype(np.float32)
