from __future__ import annotations

import pytest
from click.testing import CliRunner

from mindport.prompts.cli import main


def run(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_list():
    done = run("list")
    assert done.exit_code == 0
    assert "sentiment  version 1" in done.output
    assert "(computer, medicine, religion, space, sport)" in done.output


def test_show_prefix(task_file, bpe_folder):
    done = run("show", task_file, "--checkpoint", bpe_folder, "-n", 2)
    assert done.exit_code == 0, done.output
    assert '"[X] It was [Z]" (prefix)' in done.output
    assert 'label     negative: " bad" = ' in done.output
    assert 'text      "bad film It was [Z]"' in done.output
    assert 'tokens    "bad" " film" " It" " was"' in done.output
    assert '[Z]       logits of position 3 of 4, " was"' in done.output
    assert done.output.count("item ") == 2


def test_show_cloze(task_file, wordpiece_folder):
    done = run("show", task_file, "--checkpoint", wordpiece_folder, "--max-length", 8)
    assert done.exit_code == 0, done.output
    assert '[Z]       logits of position 3 of 8, "[MASK]"' in done.output
    assert "its text cut to fit" in done.output


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("show", "sentimnt", "--checkpoint", "BPE"), "Did you mean 'sentiment'"),
        (("show", "TASK", "--checkpoint", "/nowhere"), "Looked for tokenizer.json"),
        (("show", "TASK", "--checkpoint", "BPE", "--shape", "cloze"), "lacks: mask"),
        (("show", "TASK", "--checkpoint", "BPE", "-n", "0"), "0 is not in the range x>=1"),
        (("show", "TASK", "--checkpoint", "BPE", "--max-length", "1"), "leaves no room"),
        (("show", "TASK"), "Missing option '--checkpoint'"),
    ],
)
def test_bad_input_gives_a_sentence(task_file, bpe_folder, args, said):
    done = run(*({"TASK": task_file, "BPE": bpe_folder}.get(arg, arg) for arg in args))
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output
