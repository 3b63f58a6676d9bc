"""The rows that ship with the tasks: balanced, distinct, held apart, short enough."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from mindport.prompts.dataset import PromptDataset
from mindport.prompts.tokenizer_files import read_tokenizer

ROOT = Path(__file__).parents[2]
TASKS = ROOT / "prompts" / "tasks"
NAMES = sorted(path.stem for path in TASKS.glob("*.yaml"))
POSITIONS = 128  # of every embedded model
RUN = {"en": 7, "zh": 12}  # words or characters in a row that two rows may not share
MOST_WORDS = {"sentiment": 15, "topic": 25, "pair": 15}  # of a demonstration


def read(name):
    return yaml.safe_load((TASKS / f"{name}.yaml").read_text(encoding="utf-8"))


def rows(name, part):
    """Return the held-out rows (``data``) or the demonstrations (``shots``) of a task."""
    return PromptDataset.from_file(TASKS / read(name)[part]["file"])


def units(text, language):
    """Return what is compared: the words of English, the characters of Chinese."""
    return re.findall(r"[^\W_]" if language == "zh" else r"[a-z0-9]+", text.lower())


def runs(text, language):
    found, size = units(text, language), RUN[language]
    return {tuple(found[i : i + size]) for i in range(max(1, len(found) - size + 1))}


def tokenizers(language):
    """Return the tokenizer of each embedded model of a language, by the shape it prompts with."""
    suffix = "" if language == "en" else f"-{language}"
    folder = ROOT / "validate" / "embedded"
    return {
        "prefix": read_tokenizer(folder / f"gpt2{suffix}")[0],
        "cloze": read_tokenizer(folder / f"bert{suffix}")[0],
    }


def test_every_file_belongs_to_a_task():
    used = {read(name)[part]["file"] for name in NAMES for part in ("data", "shots")}
    assert used == {f"data/{path.name}" for path in TASKS.glob("data/*.jsonl")}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("part", "each"), [("data", None), ("shots", 16)])
def test_balanced_and_distinct(name, part, each):
    task, examples = read(name), rows(name, part)
    labels = [label["name"] for label in task["labels"]]
    each = each or 200 // len(labels)
    assert Counter(row.label for row in examples) == dict.fromkeys(labels, each)
    assert len({row.id for row in examples}) == len(examples)
    texts = Counter(tuple(units(row.text, task["language"])) for row in examples)
    assert max(texts.values()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_demonstrations_share_nothing_with_any_held_out_row(name):
    language = read(name)["language"]
    others = [other for other in NAMES if read(other)["language"] == language]
    held_out = {run for other in others for row in rows(other, "data")
                for run in runs(row.text, language)}  # fmt: skip
    ids = {row.id.removeprefix("pair-") for other in others for row in rows(other, "data")}
    for row in rows(name, "shots"):
        assert not runs(row.text, language) & held_out, row.id
        assert row.id.removeprefix("pair-") not in ids


def test_a_shared_run_is_seen():
    text = "I bought this phone for my wife and she loves it."
    assert runs(text, "en") & runs(f"Well, {text[2:]}", "en")
    assert not runs(text, "en") & runs("I bought this phone for my son.", "en")
    assert runs("酒店的位置很好，房间也很干净。", "zh") & runs(
        "总之酒店的位置很好房间也很干净", "zh"
    )


@pytest.mark.parametrize("name", NAMES)
def test_lengths_of_the_demonstrations(name):
    for row in rows(name, "shots"):
        if name in MOST_WORDS:
            assert len(row.text.split()) <= MOST_WORDS[name]
        else:
            assert len(row.text) <= 30


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", ["prefix", "cloze"])
def test_label_words_are_one_token_and_prompts_fit(name, shape):
    task = read(name)
    tokenizer, template = tokenizers(task["language"])[shape], task["templates"][shape]
    space = " " if shape == "prefix" and " [Z]" in template else ""
    for label in task["labels"]:
        for word in label["words"]:
            ids = tokenizer.encode(space + word, add_special_tokens=False).ids
            assert len(ids) == 1, word
            assert tokenizer.decode(ids).strip() == word  # and not the unknown token
    # Of a text that is too long the end is cut: a score may lean on few such rows. The mask stands
    # for one token at most; GPT-2 has no such token and reads its letters.
    for part, most in (("data", 1), ("shots", 0)):
        long = []
        for row in rows(name, part):
            text = template.replace("[X]", row.text).replace("[Z]", "[MASK]")
            for field, value in row.meta.items():
                text = text.replace(f"[{field}]", value)
            if len(tokenizer.encode(text).ids) > POSITIONS:
                long.append(row.id)
        assert len(long) <= most, long


def test_neither_half_of_a_pair_tells_the_label():
    for part in ("data", "shots"):
        pairs = rows("pair", part)
        polarity = {row.id: row.label for row in rows("sentiment", part)}
        by_premise = Counter((polarity[row.id.removeprefix("pair-")], row.label) for row in pairs)
        by_hypothesis = Counter((row.meta["hypothesis"], row.label) for row in pairs)
        assert len(by_premise) == 4
        assert len(set(by_premise.values())) == 1
        hypotheses = {hypothesis for hypothesis, _ in by_hypothesis}
        assert len(hypotheses) == 10
        for hypothesis in hypotheses:
            counts = [by_hypothesis[hypothesis, label] for label in ("entailment", "contradiction")]
            assert counts[0] == counts[1] > 0


def test_chinese_rows_show_no_address_and_are_chinese():
    for part in ("data", "shots"):
        for row in rows("sentiment-zh", part):
            assert len(re.findall(r"[\u4e00-\u9fff]", row.text)) >= 0.6 * len(row.text)
            assert not re.search(r"[@＠]|http|www|[0-9]{5}", row.text)
            if part == "data":
                assert 10 <= len(row.text) <= 60
