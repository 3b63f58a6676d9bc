"""Another number of tokens: what is added or left out, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from mindport.migrate import MindportError, port, prepare
from mindport.migrate.cli import main
from mindport.migrate.config import read_config_file
from tests.migrate.weights import arrays_of, assert_same

TABLE = "bert.embeddings.word_embeddings"


@pytest.fixture
def bert(checkpoint, tmp_path):
    """A tiny BERT with 512 tokens, of which the config needs 7 and the tokenizer 300."""
    folder = tmp_path / "bert"
    shutil.copytree(checkpoint("bert", "mlm"), folder)
    config = {**read_config_file(folder / "config.json"), "pad_token_id": 6}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(map(str, range(300))) + "\n")
    return folder


def test_more_tokens(bert, tmp_path):
    there = port(prepare(bert, "bert", vocabulary=520), tmp_path / "ms")
    assert read_config_file(there / "config.json")["vocab_size"] == 520
    before, after = arrays_of(bert), arrays_of(there)
    table, bias = before[f"{TABLE}.weight"], before["cls.predictions.bias"]
    wide = after[f"{TABLE}.embedding_table"]
    assert np.array_equal(wide[:512], table)
    mean = table.astype(np.float64).mean(0).astype(np.float32)
    assert np.array_equal(wide[512:], np.tile(mean, (8, 1)))
    assert np.array_equal(after["cls.predictions.bias"][:512], bias)
    back = port(prepare(there, "bert", vocabulary=512), tmp_path / "back")
    assert_same(arrays_of(back), before)
    manifest = json.loads((there / "manifest.json").read_text())
    (entry,) = [p for p in manifest["parameters"] if p["source"] == f"{TABLE}.weight"]
    assert entry["layout"] == "pad tokens 512 to 520 (each the mean of the others)"


def test_fewer_tokens(bert, tmp_path):
    there = port(prepare(bert, "bert", vocabulary=300, dtype="float16"), tmp_path / "ms")
    assert arrays_of(there)[f"{TABLE}.embedding_table"].shape == (300, 64)


def test_the_same_number_changes_nothing(bert):
    assert prepare(bert, "bert", vocabulary=512).plan.vocabulary is None


def test_what_is_needed_is_not_cut(bert):
    with pytest.raises(MindportError, match=r"lacks the id 299, which vocab\.txt needs"):
        prepare(bert, "bert", vocabulary=299)
    (bert / "vocab.txt").unlink()
    with pytest.raises(MindportError, match=r"the id 6, which 'pad_token_id' in config\.json"):
        prepare(bert, "bert", vocabulary=6)


@pytest.mark.parametrize(
    ("name", "content", "highest"),
    [
        ("tokenizer.json", {"model": {"vocab": {"a": 0, "b": 9}}, "added_tokens": []}, 9),
        ("tokenizer.json", {"model": {"vocab": [["a", 0.1]]}, "added_tokens": [{"id": 8}]}, 8),
        ("vocab.json", {"a": 0, "b": 11}, 11),
        ("added_tokens.json", {"<x>": 12}, 12),
    ],
)
def test_every_tokenizer_file_counts(bert, name, content, highest):
    (bert / "vocab.txt").unlink()
    (bert / name).write_text(json.dumps(content))
    with pytest.raises(MindportError, match=f"id {highest}, which {name}"):
        prepare(bert, "bert", vocabulary=highest)
    prepare(bert, "bert", vocabulary=highest + 1)
    (bert / name).write_text("{")
    with pytest.raises(MindportError, match="cannot be read"):
        prepare(bert, "bert", vocabulary=400)


def test_the_command_says_what_it_did(bert, tmp_path):
    argv = ["bert", str(bert), str(tmp_path / "ms"), "--vocab-size", "514"]
    done = CliRunner().invoke(main, [*argv, "--report", str(tmp_path / "r.json")])
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    assert "2 of another vocabulary (2 tokens added, each the mean of the others)" in words
    assert json.loads((tmp_path / "r.json").read_text())["vocab_size"] == 514
    done = CliRunner().invoke(main, [*argv[:2], str(tmp_path / "x"), "--vocab-size", "9"])
    assert done.exit_code == 2
    assert "Use --vocab-size 300 or more" in done.output
    assert not (tmp_path / "x").exists()
