"""Dumps of other tools: which file is which tap, and that nothing is guessed in silence."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from mindport.migrate.architecture import network_order
from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import MindportError
from mindport.validate.cli import main
from mindport.validate.recording.comparing import compare_recorded
from mindport.validate.recording.dumps.importing import DumpRequest, import_dump
from tests.validate.recorded import make_recorded


@pytest.fixture(scope="module")
def network(small):
    return small("gpt2", "lm")


@pytest.fixture(scope="module")
def reference(network, small_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dumps") / "reference"
    weights = small_checkpoint("gpt2", "lm")
    return make_recorded(folder, network, weights, "reference", network.run(seed=1))


def dump_msprobe(folder, network, prefix="", wrong=None):
    """Write what msprobe writes of a GPT-2 at level L0: inputs and outputs of modules."""
    folder.mkdir(parents=True)
    taps = network.run(wrong, seed=2)
    head = load_architecture("gpt2").heads["lm"]
    whole = {}
    for tap in network_order(head.taps, 3):
        if not tap.module or tap.end not in ("input", "output"):
            continue
        number, parts = tap.part
        key = f"Module.{prefix}{head.prefix}{tap.module}.Kind.forward.0.{tap.end}.0"
        whole.setdefault(key, [None] * parts)[number] = taps[tap.name]
    for key, parts in whole.items():
        np.save(folder / f"{key}.npy", np.concatenate(parts, -1))
    np.save(folder / f"Module.{prefix}lm_head.Linear.forward.0.output.0.npy", taps["logits"])
    np.save(folder / f"Module.{prefix}lm_head.Linear.backward.0.input.0.npy", taps["logits"])
    np.save(folder / "Torch.addmm.0.forward.output.0.npy", taps["logits"])
    return taps


@pytest.mark.parametrize("prefix", ["", "network.", "a.b."])
def test_modules_are_found_behind_one_prefix(network, reference, tmp_path, prefix):
    dump_msprobe(tmp_path / "dump" / "step0" / "rank0", network, prefix)
    request = DumpRequest(tmp_path / "dump", "msprobe", reference)
    found = import_dump(request, tmp_path / "out")
    softmax = {"scores", "weights"}
    assert {t for t in network.case.taps if t.rpartition(".")[2] not in softmax} == set(
        found.tensors
    )
    assert any("were not found in the dump: block.{i}.scores" in n for n in found.notices)
    assert any(repr(prefix) in n for n in found.notices) == bool(prefix)
    verdict = compare_recorded(reference, tmp_path / "out")
    assert verdict.verdict == "pass", verdict.headline
    assert "imported from msprobe, not recorded" in verdict.headline
    assert any("nothing proves which framework" in notice for notice in verdict.notices)
    assert any("were not captured" in notice for notice in verdict.notices)


def test_a_fault_in_a_dump_is_placed(network, reference, tmp_path):
    wrong = {"block.1.attention": lambda step, given, setting: np.ones((6, 32, 32))}
    dump_msprobe(tmp_path / "dump", network, wrong=wrong)
    import_dump(DumpRequest(tmp_path / "dump", "msprobe", reference), tmp_path / "out")
    verdict = compare_recorded(reference, tmp_path / "out")
    assert (verdict.verdict, verdict.first_faulty_tap) == ("fail", "block.1.attention")


def test_two_networks_in_a_dump_are_not_chosen_from(network, reference, tmp_path):
    dump_msprobe(tmp_path / "one", network, "student.")
    dump_msprobe(tmp_path / "two", network, "teacher.")
    for file in (tmp_path / "two").glob("Module*"):
        file.rename(tmp_path / "one" / file.name)
    with pytest.raises(MindportError, match="several networks"):
        import_dump(DumpRequest(tmp_path / "one", "msprobe", reference), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_repeated_calls_are_told(network, reference, tmp_path):
    dump_msprobe(tmp_path / "dump", network)
    again = "Module.lm_head.Linear.forward.1.output.0.npy"
    np.save(tmp_path / "dump" / again, np.zeros((6, 32, 96), np.float32))
    found = import_dump(DumpRequest(tmp_path / "dump", "msprobe", reference), tmp_path / "out")
    assert any("lm_head was dumped 2 times; the first" in notice for notice in found.notices)
    assert compare_recorded(reference, tmp_path / "out").verdict == "pass"


def test_plain_files_and_a_map(network, reference, tmp_path):
    taps, dump = network.run(seed=2), tmp_path / "dump"
    dump.mkdir()
    for name in ("embeddings", "block.0", "logits"):
        np.save(dump / f"{name}.npy", taps[name].astype(np.float64))
    fused = np.concatenate([taps[f"block.0.{part}"] for part in ("query", "key", "value")], -1)
    np.save(dump / "qkv_0.npy", fused.reshape(-1, 96))  # rows and positions in one axis
    mapping = tmp_path / "map.yaml"
    mapping.write_text("block.0.key: {cell: qkv_0, part: [1, 3]}\nembeddings: null\n")
    written = tmp_path / "written.yaml"
    request = DumpRequest(dump, "npy", reference, mapping, written)
    found = import_dump(request, tmp_path / "out")
    assert sorted(found.tensors) == ["block.0", "block.0.key", "logits"]
    assert any("2 taps were found by name" in notice for notice in found.notices)
    assert any("no tap's: embeddings" in notice for notice in found.notices)
    assert yaml.safe_load(written.read_text())["block.0.key"] == {"cell": "qkv_0", "part": [1, 3]}
    assert compare_recorded(reference, tmp_path / "out").verdict == "pass"


def test_troubleshooter_numbers_its_files(network, reference, tmp_path):
    taps, dump = network.run(seed=2), tmp_path / "dump"
    dump.mkdir()
    np.save(dump / "0_block.0.npy", taps["block.0"])
    np.save(dump / "1_out.npy", taps["logits"])
    mapping = tmp_path / "map.yaml"
    mapping.write_text("logits: out\n")
    request = DumpRequest(dump, "troubleshooter", reference, mapping)
    assert sorted(import_dump(request, tmp_path / "out").tensors) == ["block.0", "logits"]
    assert compare_recorded(reference, tmp_path / "out").verdict == "pass"


def test_without_the_outputs_nothing_passes(network, reference, tmp_path):
    dump = tmp_path / "dump"
    dump.mkdir()
    np.save(dump / "block.0.npy", network.run(seed=2)["block.0"])
    import_dump(DumpRequest(dump, "npy", reference), tmp_path / "out")
    verdict = compare_recorded(reference, tmp_path / "out")
    assert (verdict.verdict, verdict.first_faulty_tap) == ("fail", "logits")
    assert "not captured" in verdict.headline


def test_another_shape_fails(network, reference, tmp_path):
    dump = tmp_path / "dump"
    dump.mkdir()
    np.save(dump / "logits.npy", np.zeros((2, 3), np.float32))
    import_dump(DumpRequest(dump, "npy", reference), tmp_path / "out")
    verdict = compare_recorded(reference, tmp_path / "out")
    assert "shapes differ" in verdict.headline


@pytest.mark.parametrize(
    ("files", "tool", "said"),
    [
        ({}, "npy", "holds no .npy files"),
        ({"x.npy": np.ones(1), "a/y.npy": np.ones(1)}, "npy", "several dumps"),
        ({"x.npy": np.ones(1)}, "msprobe", "named as msprobe names"),
        ({"x.npy": np.ones(1)}, "npy", "No tap was found"),
        ({"logits.npy": np.ones(3, int)}, "npy", "not floating numbers"),
        ({"logits.npy": np.array([{}])}, "npy", "cannot be read"),
    ],
)
def test_dumps_that_are_none(reference, tmp_path, files, tool, said):
    for name, array in files.items():
        (tmp_path / "dump" / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "dump" / name, array)
    (tmp_path / "dump").mkdir(exist_ok=True)
    argv = ["import-dump", tmp_path / "dump", "--from", tool, "--case", reference]
    done = CliRunner().invoke(main, [*map(str, argv), "-o", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()


def test_a_map_that_names_what_is_not_there(network, reference, tmp_path):
    dump_msprobe(tmp_path / "dump", network)
    mapping = tmp_path / "map.yaml"
    mapping.write_text("block.{i}.mlp: transformer.h.{i}.feedforward\n")
    request = DumpRequest(tmp_path / "dump", "msprobe", reference, mapping)
    with pytest.raises(MindportError, match=r"the dump has no output of transformer\.h\.0\.feed"):
        import_dump(request, tmp_path / "out")
