"""Where the embedded weights are found, and what is said when they are not."""

from __future__ import annotations

import pytest

from mindport.migrate.errors import CheckpointError, MindportError
from mindport.validate import checkpoints
from mindport.validate.checkpoints import embedded_checkpoint, embedded_checkpoints, is_embedded


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A package with three embedded models and a folder without one."""
    monkeypatch.setattr(checkpoints, "__file__", str(tmp_path / "checkpoints.py"))
    for name in ("gpt2", "gpt2-zh", "gpt2-two-words", "bert-zh"):
        folder = tmp_path / "embedded" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    (tmp_path / "embedded" / "gpt2-empty").mkdir()
    return tmp_path / "embedded"


def test_names_are_the_ends_of_the_folders(shelf):
    assert embedded_checkpoints("gpt2") == {
        "embedded": shelf / "gpt2",
        "embedded-zh": shelf / "gpt2-zh",
        "embedded-two-words": shelf / "gpt2-two-words",
    }
    assert embedded_checkpoint("gpt2") == shelf / "gpt2"
    assert embedded_checkpoint("gpt2", "embedded-zh") == shelf / "gpt2-zh"


def test_an_unknown_name_lists_those_there_are(shelf):
    said = r"no weights 'embedded-zn' for 'gpt2'. Did you mean 'embedded-zh'\? Known: embedded, "
    with pytest.raises(CheckpointError, match=said) as caught:
        embedded_checkpoint("gpt2", "embedded-zn")
    assert "./embedded-zn" in caught.value.hint
    with pytest.raises(CheckpointError, match=r"Known: embedded-zh\."):
        embedded_checkpoint("bert")
    with pytest.raises(CheckpointError, match="There are no embedded weights for 't5'"):
        embedded_checkpoint("t5", "embedded-zh")


@pytest.mark.parametrize(
    ("checkpoint", "is_one"),
    [("embedded", True), ("embedded-zh", True), ("embedded-", True), ("./embedded-zh", False),
     ("embeddedness", False), ("random", False), ("org/embedded-zh", False)],
)  # fmt: skip
def test_what_asks_for_embedded_weights(checkpoint, is_one):
    assert is_embedded(checkpoint) is is_one


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_those_that_ship(name):
    found = embedded_checkpoints(name)
    assert set(found) == {"embedded", "embedded-zh"}
    for folder in found.values():
        files = {"README.md", "config.json", "model.safetensors", "tokenizer.json"}
        assert files <= {file.name for file in folder.iterdir()}


@pytest.mark.parametrize("checkpoint", ["embedded", "embedded-zh"])
def test_the_reference_runs_the_one_that_is_asked_for(checkpoint, tmp_path):
    from mindport.migrate.architectures import load_architecture

    def choose(config_file=None):
        choice = checkpoints.ReferenceChoice(checkpoint, config_file, None, None, 0)
        return checkpoints.reference_folder(load_architecture("bert"), choice, tmp_path)

    assert choose() == embedded_checkpoint("bert", checkpoint)
    with pytest.raises(MindportError, match="a config of their own"):
        choose(tmp_path / "config.json")
