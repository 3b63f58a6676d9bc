"""A port that a user wrote, from the command line: judged, and every fault in it placed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from mindport.validate.cli import main

PORTS = Path(__file__).parent / "ports"
EXAMPLE = Path(__file__).parents[2] / "examples" / "own_port" / "my_port.py"

pytestmark = [
    pytest.mark.torch,
    pytest.mark.mindspore,
    pytest.mark.xdist_group("more-frameworks"),
]


def causes(verdict):
    return {d["tap"]: (d["cause"], d["confirmed"]) for d in verdict["diagnosis"]}


def said(verdict, words):
    return [notice for notice in verdict["notices"] if words in notice]


def test_the_example_passes_with_every_tap_proposed(validate):
    code, verdict, output = validate("gpt2", "--candidate", f"{EXAMPLE}:build")
    assert (code, verdict["verdict"]) == (0, "pass"), output
    assert len(verdict["taps"]) == 59
    assert verdict["identity"]["candidate"]["backend"] == "cell"
    places = verdict["identity"]["candidate"]["details"]["taps"]
    assert places["block.3.key"] == "output of blocks.3.attn.qkv, part 1 of 3"
    assert places["block.0.residual"] == "input of blocks.0.pre_mlp"
    assert said(verdict, "58 taps were found by proposal")
    assert not said(verdict, "nowhere in your network")


def test_three_faults_at_once_are_all_named(validate):
    code, verdict, output = validate("gpt2", "--candidate", PORTS / "three_faults.py")
    assert (code, verdict["verdict"]) == (1, "fail"), output
    assert causes(verdict) == {
        "block.1.activation": ("other-activation", True),
        "block.2.norm_2": ("norm-eps", True),
        "block.3.key": ("swapped-projections", True),
        "block.3.value": ("swapped-projections", True),
    }
    assert verdict["first_faulty_tap"] == "block.1.activation"
    assert {t["name"] for t in verdict["taps"] if t["own_fault"]} == set(causes(verdict))


def test_a_coarse_port_passes(validate):
    code, verdict, output = validate("gpt2", "--candidate", f"{PORTS / 'coarse.py'}:build")
    assert code == 0, output
    assert said(verdict, "45 taps were not found in your network")


def test_a_fault_in_a_coarse_port_is_placed_by_block(validate):
    """The attention has no cells inside, so a fault in it shows at its end, with its cause."""
    code, verdict, output = validate("gpt2", "--candidate", f"{PORTS / 'coarse.py'}:build_unscaled")
    assert code == 1, output
    assert causes(verdict) == {"block.2.attention": ("attention-scale", True)}
    (tap,) = [t["name"] for t in verdict["taps"] if t["own_fault"]]
    assert tap == verdict["first_faulty_tap"] == "block.2.attention"


def test_a_bert_with_a_fused_matrix_and_two_faults(validate):
    code, verdict, output = validate("bert", "--candidate", f"{PORTS / 'bert_fused.py'}:build")
    assert code == 0, output
    assert "block.0.value" in {t["name"] for t in verdict["taps"]}
    faulty = f"{PORTS / 'bert_fused.py'}:build_faulty"
    code, verdict, output = validate("bert", "--candidate", faulty)
    assert code == 1, output
    assert causes(verdict) == {
        "embeddings.sum": ("token-types-ignored", True),
        "block.1.activation": ("other-activation", True),
    }


def test_a_wrong_proposal_does_not_fail_a_right_port(validate):
    code, verdict, output = validate("gpt2", "--candidate", f"{PORTS / 'variants.py'}:value_first")
    assert code == 0, output
    (notice,) = said(verdict, "set aside")
    assert "block.{i}.query, block.{i}.key, block.{i}.value" in notice


def test_a_users_word_is_not_set_aside(validate, tmp_path):
    taps = tmp_path / "taps.yaml"
    taps.write_text("block.{i}.query: {cell: 'blocks.{i}.attn.qkv.inner', part: [0, 3]}\n")
    port = f"{PORTS / 'variants.py'}:value_first"
    code, verdict, _ = validate("gpt2", "--candidate", port, "--taps", taps)
    assert code == 1
    assert verdict["first_faulty_tap"] == "block.0.query"


def test_weights_that_were_not_loaded_head_the_verdict(validate):
    port = f"{PORTS / 'variants.py'}:forgot_a_part"
    code, verdict, output = validate("gpt2", "--candidate", port)
    assert code == 1, output
    assert verdict["headline"].startswith("4 tensors of the checkpoint are nowhere in your network")
    (notice,) = said(verdict, "nowhere in your network")
    for name in ("c_fc.weight", "c_fc.bias", "c_proj.weight", "c_proj.bias"):
        assert f"transformer.h.2.mlp.{name}" in notice
    assert "4 hold values that are not the checkpoint's (blocks.2.mlp.fc1.weight" in notice
    assert verdict["first_faulty_tap"] == "block.2.up"


def test_a_mask_that_is_not_taken_is_said(validate):
    code, verdict, output = validate("gpt2", "--candidate", f"{PORTS / 'variants.py'}:without_mask")
    assert code == 0, output
    assert said(verdict, "construct takes no attention_mask, although 52 positions are padding")


def test_a_checkpoint_of_any_form_is_handed_on(validate, tmp_path):
    ours = tmp_path / "weights.txt"
    ours.write_text("a format of the user's own")
    port = tmp_path / "port.py"
    port.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(EXAMPLE.parent)!r})\n"
        "import my_port\n"
        "def build(config, checkpoint):\n"
        "    assert open(checkpoint).read().startswith('a format')\n"
        "    return my_port.MyGPT2(config)\n"
    )
    code, verdict, _ = validate("gpt2", "--candidate", port, "--candidate-checkpoint", ours)
    assert code == 1
    assert set(verdict["checkpoint"]["candidate"]["files"]) == {"weights.txt", "port.py"}
    assert verdict["headline"].startswith("52 tensors of the checkpoint are nowhere")


def test_taps_are_written_corrected_and_read(validate, tmp_path, frameworks):
    file = tmp_path / "taps.yaml"
    argv = ["taps", "gpt2", "--candidate", str(EXAMPLE), "-o", str(file)]
    done = CliRunner().invoke(main, argv)
    assert done.exit_code == 0, done.output
    content = yaml.safe_load(file.read_text())
    assert content["block.{i}.value"] == {"cell": "blocks.{i}.attn.qkv", "part": [2, 3]}
    assert content["final_norm"] == "last_norm"
    again = CliRunner().invoke(main, argv)
    assert again.exit_code == 2
    assert "exists already" in again.output

    content["block.{i}.scores"] = None
    file.write_text(yaml.safe_dump(content))
    code, verdict, output = validate("gpt2", "--candidate", EXAMPLE, "--taps", file)
    assert code == 0, output
    assert not said(verdict, "found by proposal")
    assert said(verdict, "4 taps were not found in your network")


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("raises", ("variants.py, line", "(in raises): KeyError: 'heads'")),
        ("not_a_cell", ("returned builtins.list, not a mindspore.nn.Cell",)),
        ("needs_more", ("Picky.construct(input_ids, temperature) needs 'temperature'",)),
    ],
)
def test_what_a_factory_does_wrong_is_said(validate, factory, words):
    code, verdict, output = validate("gpt2", "--candidate", f"{PORTS / 'variants.py'}:{factory}")
    assert (code, verdict) == (2, None), output
    for part in words:
        assert part in output.replace("\n", " ")
    assert "Traceback" not in output


def test_a_cell_that_is_not_there_is_said(validate, tmp_path):
    file = tmp_path / "taps.yaml"
    file.write_text("block.{i}.norm_1: blocks.{i}.pre_atn\n")
    code, verdict, output = validate("gpt2", "--candidate", EXAMPLE, "--taps", file)
    assert (code, verdict) == (2, None)
    assert "block.0.norm_1: the network has no cell 'blocks.0.pre_atn'" in output
    assert "Did you mean 'blocks.0.pre_attn'?" in output


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--candidate", "nowhere.py:build"), "There is no Python file nowhere.py"),
        (("--candidate", f"{EXAMPLE}:biuld"), "Did you mean 'build'?"),
        (("--candidate", EXAMPLE, "--mode", "graph"), "hooks, which do not fire in graph mode"),
        (("--candidate", EXAMPLE, "--backend", "torch"), "Leave out --backend"),
        (("--candidate", EXAMPLE, "--candidate-checkpoint", "nowhere"), "There is no nowhere"),
        (("--taps", "taps.yaml"), "Name it with --candidate"),
        (("--backend", "cell"), "Name it with --candidate"),
    ],
)
def test_bad_requests_start_nothing(validate, argv, words):
    code, verdict, output = validate("gpt2", *argv)
    assert (code, verdict) == (2, None)
    assert words in output
