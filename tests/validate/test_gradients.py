"""``--gradients``: correct ports pass, faults of the backward pass are caught and placed."""

from __future__ import annotations

import dataclasses
import json

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

from mindport.migrate.architectures import load_architecture
from mindport.migrate.config import read_config_file, resolve_config
from mindport.migrate.dialect import MINDSPORE, TORCH
from mindport.migrate.errors import MindportError
from mindport.migrate.expected import expected_parameters
from mindport.migrate.porting import port, prepare
from mindport.validate.backend import GradientRun, Identity, LoadReport, load_backend
from mindport.validate.capture import Capture, CaptureManifest, save_capture
from mindport.validate.case import Run, SettledCase, hash_arrays, load_case, load_targets, save_case
from mindport.validate.cli import main
from mindport.validate.faults import BACKWARD_FAULTS
from mindport.validate.gradient_capture import (
    OrderError,
    StoredGradients,
    measure,
    save_gradients,
)
from mindport.validate.gradients import GradientResult, compare_gradients, place
from mindport.validate.inputs import make_inputs
from mindport.validate.judge import Evidence, judge
from mindport.validate.targets import make_targets
from mindport.validate.tolerance import Size, choose_policy, gradient_limits
from mindport.validate.worker import _gradients
from tests.validate.conftest import SCHEMA

TINY = {
    "gpt2": {"vocab_size": 97, "n_positions": 32, "n_embd": 32, "n_layer": 3, "n_head": 2},
    "bert": {
        "vocab_size": 97,
        "max_position_embeddings": 32,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    },
    "roberta": {
        "vocab_size": 97,
        "max_position_embeddings": 36,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    },
    "distilbert": {
        "vocab_size": 97,
        "max_position_embeddings": 32,
        "dim": 32,
        "n_layers": 1,
        "n_heads": 2,
        "hidden_dim": 64,
    },
}


def command(*argv, report):
    """Run the command; return its exit code, its verdict and what it printed."""
    done = CliRunner().invoke(main, [*map(str, argv), "--blocks-only", "--report", str(report)])
    path = report / "verdict.json"
    return done.exit_code, json.loads(path.read_text()) if path.is_file() else None, done.output


class Bench:
    """One case: the reference's gradients once, candidates as often as wanted."""

    def __init__(self, checkpoint, name, head, folder, dtype="float32", **config):
        config = {**TINY[name], "pad_token_id": 3, **config}
        self.name, self.head, self.folder, self.dtype = name, head, folder, dtype
        self.architecture = load_architecture(name)
        self.described = self.architecture.heads[head]
        self.source = checkpoint(name, head, **config)
        self.config = resolve_config(
            self.architecture, read_config_file(self.source / "config.json")
        )
        about = (self.architecture, self.described, self.config)
        self.inputs = make_inputs(*about, batch=3, length=12, seed=1)
        self.targets = make_targets(*about, self.inputs, 1)
        session = self.open("torch", self.source)
        self.loss, self.gradients = session.gradients(self.inputs, self.targets)
        runs = session.gradient_runs(self.inputs, self.targets)
        self.oracle = measure(runs, self.loss, self.gradients)
        self.ported = port(prepare(self.source, name, head=head), folder / "ms")
        self._count = 0

    def open(self, backend, folder, mode="eager", fault=None):
        case = SettledCase(self.name, self.head, 0, (), {}, False)
        run = Run(backend, str(folder), "CPU", self.dtype, mode, "", fault=fault)
        return load_backend(backend).open_session(run, case)

    def candidate(self, mode="eager", fault=None):
        session = self.open("mindspore", self.ported, mode, fault)
        return session.gradients(self.inputs, self.targets)

    def compare(self, loss, gradients, oracle=None, own=None, taps_ok=True, policy=None):
        self._count += 1
        folder = self.folder / str(self._count)
        for side in ("reference", "candidate"):
            (folder / side).mkdir(parents=True)
        save_gradients(
            folder / "reference", self.loss, own or self.gradients, oracle or self.oracle
        )
        save_gradients(folder / "candidate", loss, gradients, None)
        return compare_gradients(
            StoredGradients(folder / "reference"),
            StoredGradients(folder / "candidate"),
            expected_parameters(self.architecture, self.described, self.config, TORCH),
            MINDSPORE,
            policy or choose_policy(self.dtype, None, None, None),
            taps_ok=taps_ok,
        )


@pytest.fixture(scope="module")
def benches(checkpoint, tmp_path_factory):
    """Return a function that makes a bench, once for each head."""
    pytest.importorskip("torch")
    pytest.importorskip("mindspore")
    made = {}

    def make(name, head, **config):
        key = (name, head, json.dumps(config))
        if key not in made:
            made[key] = Bench(checkpoint, name, head, tmp_path_factory.mktemp("bench"), **config)
        return made[key]

    return make


@pytest.mark.torch
@pytest.mark.mindspore
@pytest.mark.xdist_group("more-frameworks")
class TestNetworks:
    """With both frameworks."""

    def test_every_head_passes(self, benches, every_head):
        bench = benches(*every_head)
        check = bench.compare(*bench.candidate())
        assert check.problem == ""
        assert check.loss_ok
        assert check.first_faulty is None
        assert len(check.parameters) == len(bench.gradients)
        assert {result.parameter for result in check.parameters} == set(bench.gradients)
        assert max(result.used for result in check.parameters) < 0.7
        assert "gradients agree" in check.summary

    def test_graph_mode_passes(self, benches):
        bench = benches("gpt2", "sequence-classification", n_layer=1)
        try:
            assert bench.compare(*bench.candidate("graph")).problem == ""
        finally:
            bench.open("mindspore", bench.ported)  # back to eager mode

    @pytest.mark.parametrize(
        ("name", "head", "config"),
        [
            ("gpt2", "sequence-classification", {"num_labels": 1, "n_layer": 1}),
            ("gpt2", "lm", {"tie_word_embeddings": False, "n_layer": 1}),
            ("bert", "pretraining", {"dtype": "float16"}),
        ],
    )
    def test_regression_untied_and_half_precision_pass(self, benches, name, head, config):
        bench = benches(name, head, **config)
        assert bench.compare(*bench.candidate()).problem == ""

    @pytest.mark.parametrize("name", ["gpt2", "bert"])
    @pytest.mark.parametrize("fault", BACKWARD_FAULTS, ids=lambda fault: fault.name)
    def test_backward_faults_are_caught_and_placed(self, benches, name, fault):
        head = {"gpt2": "lm", "bert": "mlm"}[name]
        bench = benches(name, head)
        check = bench.compare(*bench.candidate(fault={"name": fault.name, "block": 1}))
        assert check.loss_ok
        assert check.first_faulty == PLACES[name][fault.name]
        assert "only the backward pass is wrong" in check.problem
        assert WORDS[fault.name] in check.problem

    @pytest.mark.parametrize("name", ["gpt2", "bert"])
    @pytest.mark.parametrize("fault", BACKWARD_FAULTS, ids=lambda fault: fault.name)
    def test_backward_faults_leave_the_forward_as_it_was(self, benches, name, fault):
        head = {"gpt2": "lm", "bert": "mlm"}[name]
        bench = benches(name, head)
        output = bench.described.taps[-1].name
        case = SettledCase(name, head, 0, ("block.1", output), {}, False)
        found = []
        for broken in (None, {"name": fault.name, "block": 1}):
            run = Run("mindspore", str(bench.ported), "CPU", "float32", "eager", "", fault=broken)
            session = load_backend("mindspore").open_session(run, case)
            found.append(session.forward(bench.inputs))
        assert all(np.array_equal(found[0][tap], found[1][tap]) for tap in case.taps)

    def test_a_slightly_scaled_gradient_is_caught(self, benches):
        bench = benches("gpt2", "lm")
        fault = {"name": "gradient-scaled", "block": 2, "severity": 1.0001}
        check = bench.compare(*bench.candidate(fault=fault))
        assert check.first_faulty == "transformer.h.2.mlp.c_proj.bias"

    def test_gradients_that_cancel_have_an_allowance(self, benches):
        bench = benches("bert", "mlm")
        check = bench.compare(*bench.candidate())
        keys = [r for r in check.parameters if r.parameter.endswith("self.key.bias")]
        assert len(keys) == 3
        for result in keys:
            assert result.size < 1e-15
            assert result.candidate > 1e3 * result.size
            assert 0 < result.used < 1

    def test_what_the_loss_does_not_reach_must_be_zero(self, benches):
        bench = benches("bert", "none")
        loss, gradients = bench.candidate()
        assert not gradients["pooler.dense.weight"].any()
        gradients["pooler.dense.weight"] = gradients["pooler.dense.weight"] + np.float32(1e-30)
        check = bench.compare(loss, gradients)
        assert check.first_faulty == "pooler.dense.weight"

    def test_missing_and_surplus_gradients_fail(self, benches):
        bench = benches("gpt2", "lm")
        loss, gradients = bench.candidate()
        lacking = {name: a for name, a in gradients.items() if "h.2.ln_1.gamma" not in name}
        check = bench.compare(loss, lacking)
        assert check.first_faulty == "transformer.h.2.ln_1.weight"
        assert "no gradient on the candidate side" in check.problem
        check = bench.compare(loss, {**gradients, "score.weight": np.zeros(3, np.float32)})
        assert "the candidate has a gradient of it" in check.problem
        own = {name: a for name, a in bench.gradients.items() if "ln_f.bias" not in name}
        assert "on the reference side" in bench.compare(loss, gradients, own=own).problem

    def test_nan_and_a_wrong_shape_fail(self, benches):
        bench = benches("gpt2", "lm")
        loss, gradients = bench.candidate()
        name = "transformer.h.0.mlp.c_fc.weight"
        spoilt = gradients[name].copy()
        spoilt[0, 0] = np.nan
        check = bench.compare(loss, {**gradients, name: spoilt})
        assert check.first_faulty == name
        assert "NaN or infinite: 1 on the candidate side" in check.problem
        # Square matrices apart, a transposed gradient has another shape.
        check = bench.compare(loss, {**gradients, name: gradients[name].T})
        assert "the shape of its gradient is [32, 128] and not [128, 32]" in check.problem
        square = "transformer.h.0.attn.c_proj.weight"
        check = bench.compare(loss, {**gradients, square: gradients[square].T})
        assert check.first_faulty == square

    def test_another_loss_fails(self, benches):
        bench = benches("gpt2", "lm")
        loss, gradients = bench.candidate()
        for wrong in (loss * (1 + 1e-4), float("nan")):
            check = bench.compare(wrong, gradients)
            assert not check.loss_ok
            assert "its own formula is at fault" in check.problem
        assert "as the forward pass does" in bench.compare(wrong, gradients, taps_ok=False).problem

    def test_the_policy_of_the_user_counts(self, benches):
        bench = benches("gpt2", "lm")
        loss, gradients = bench.candidate()
        exact = choose_policy("float32", None, 0.0, 0.0)
        assert bench.compare(loss, gradients, policy=exact).problem
        loose = choose_policy("float32", None, 1e-3, 1e-3)
        assert not bench.compare(loss, gradients, policy=loose).problem

    def test_the_command_compares_gradients(self, tmp_path):
        code, verdict, output = command("bert", "--gradients", "--length", 16, report=tmp_path)
        assert code == 0, output
        section = {**SCHEMA, **SCHEMA["$defs"]["gradients"]}
        for key in ("allOf", "title", "description"):
            section.pop(key, None)
        jsonschema.validate(verdict["gradients"], section)
        assert len(verdict["gradients"]["parameters"]) == 74
        assert verdict["gradients"]["loss_ok"]
        assert "loss and all 74 gradients agree" in verdict["headline"]
        assert "uses most" in output

    def test_without_the_option_there_are_none(self, tmp_path):
        _, verdict, output = command("gpt2", "--length", 8, report=tmp_path)
        assert verdict["gradients"] is None
        assert "gradients" not in output


PLACES = {
    "gpt2": {
        "first-residual-detached": "transformer.h.0.mlp.c_proj.bias",
        "second-residual-detached": "transformer.h.1.attn.c_proj.bias",
        "query-detached": "transformer.h.1.attn.c_attn.bias",
        "weights-detached": "transformer.h.1.attn.c_attn.bias",
        "gradient-scaled": "transformer.h.1.mlp.c_proj.bias",
        "words-detached": "transformer.wte.weight",
        "norm-scale-detached": "transformer.h.1.ln_2.weight",
    },
    "bert": {
        "first-residual-detached": "bert.encoder.layer.0.output.LayerNorm.bias",
        "second-residual-detached": "bert.encoder.layer.1.attention.output.LayerNorm.bias",
        "query-detached": "bert.encoder.layer.1.attention.self.query.bias",
        # The gradient of the key's bias is zero anyhow.
        "weights-detached": "bert.encoder.layer.1.attention.self.key.weight",
        "gradient-scaled": "bert.encoder.layer.1.output.dense.bias",
        "words-detached": "bert.embeddings.word_embeddings.weight",
        "norm-scale-detached": "bert.encoder.layer.1.output.LayerNorm.weight",
    },
}
WORDS = {
    "first-residual-detached": "or where block 1 hands back to it",
    "second-residual-detached": "the backward of block 1",
    "query-detached": "the backward of block 1",
    "weights-detached": "the backward of block 1",
    "gradient-scaled": "the backward of block 1",
    "words-detached": "its own gradient alone is not",
    "norm-scale-detached": "its own gradient alone is not",
}


def about(name, head, **config):
    architecture = load_architecture(name)
    settings = {**architecture.sizes["tiny"], "model_type": name, **config}
    return architecture, architecture.heads[head], resolve_config(architecture, settings)


def test_targets_are_valid_and_left_out_at_padding(every_head):
    described = about(*every_head, pad_token_id=3, num_labels=2)
    inputs = make_inputs(*described, batch=4, length=20, seed=0)
    targets = make_targets(*described, inputs, 0)
    assert set(targets) == {target.name for target in described[1].targets}
    real = inputs["attention_mask"] != 0
    for target in described[1].targets:
        array = targets[target.name]
        if target.per == "token":
            assert array.shape == real.shape
            assert (array[~real] == -100).all()
            assert (array[real] != -100).mean() > 0.5
            assert (array == -100).sum() > (~real).sum()
            assert array.max() < 512
        elif target.per == "element":
            assert array.dtype == np.float32
            assert not array[~real].any()
            assert array[real].all()
        elif target.classes == "positions":
            assert real[np.arange(4), array].all()
        else:
            assert set(array) <= {0, 1}
    again = make_targets(*described, inputs, 0)
    assert hash_arrays(again) == hash_arrays(targets)
    assert hash_arrays(make_targets(*described, inputs, 1)) != hash_arrays(targets)


def test_targets_that_count_for_nothing_are_refused():
    described = about("gpt2", "lm")
    inputs = make_inputs(*described, batch=1, length=1, seed=0)
    with pytest.raises(MindportError, match="Not one token"):
        make_targets(*described, inputs, 0)
    headless = dataclasses.replace(described[1], targets=())
    with pytest.raises(MindportError, match="has no loss"):
        make_targets(described[0], headless, described[2], inputs, 0)


def test_a_case_keeps_its_targets_and_their_hashes(tmp_path):
    described = about("gpt2", "lm")
    inputs = make_inputs(*described, batch=2, length=8, seed=0)
    targets = make_targets(*described, inputs, 0)
    case = SettledCase("gpt2", "lm", 0, (), hash_arrays(inputs), False, hash_arrays(targets))
    save_case(tmp_path, case, inputs, targets)
    read, _ = load_case(tmp_path)
    assert read.targets == case.targets == hash_arrays(load_targets(tmp_path))


def test_few_directions_widen_the_allowance():
    many = [Size(rms, 4.0) for rms in (0.99, 1.01, 1.0, 1.005)]
    few = [Size(rms, 4.0) for rms in (0.1, 2.0, 0.5, 1.0)]
    wide, narrow = gradient_limits([], few), gradient_limits([], many)
    assert 2.0 < narrow.rms < 2.3
    assert wide.rms > 2 * narrow.rms
    assert gradient_limits([], many, single=True).rms == pytest.approx(8.0, rel=0.05)
    assert gradient_limits([Size(5.0, 9.0)], many).rms == 10.0


def test_nothing_is_allowed_where_correct_runs_show_nothing():
    limits = gradient_limits([Size(0.0, 0.0)], [Size(0.0, 0.0)] * 3)
    assert (limits.rms, limits.peak) == (0.0, 0.0)


def test_a_run_that_computes_something_else_is_no_floor():
    true = {"w": np.zeros(3)}
    runs = [GradientRun("oracle", "", 1.0, true)]
    runs += [GradientRun("disturbed", "", 1.0 + 1e-7 * n, true) for n in range(3)]
    runs.append(GradientRun("reordered", "more padding", 1.1, true))
    with pytest.raises(OrderError, match="more padding"):
        measure(runs, 1.0, true)


def result_of(name, ok):
    return GradientResult(name, ok, 0.5, 1.0, 0.0, 0.0, 1.0, problem="" if ok else "off")


def test_a_fault_up_to_the_loss_is_called_so():
    names = ("wte.weight", "h.0.mlp.weight", "h.1.mlp.weight", "ln_f.weight")
    results = [result_of(name, ok=False) for name in names]
    assert "no gradient behind it" in place(results)


@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_other_targets_on_one_side_fail(tmp_path, side):
    ours = Identity("torch", "torch", "2", "CPU", "float32", "eager", "eager")
    theirs = dataclasses.replace(ours, backend="mindspore", framework="mindspore")
    captures = {}
    for name, identity in (("reference", ours), ("candidate", theirs)):
        manifest = CaptureManifest(
            identity, LoadReport(1), {}, {"input_ids": "a"}, (), (), {}, {}, 1,
            {"labels": "changed" if name == side else "b"},
        )  # fmt: skip
        save_capture(tmp_path / name, manifest, {"logits": np.zeros(1, np.float32)})
        captures[name] = Capture(tmp_path / name)
    verdict = judge(
        Evidence(
            case=SettledCase("gpt2", "lm", 0, (), {"input_ids": "a"}, False, {"labels": "b"}),
            inputs={},
            **captures,
            left_behind=(),
            taps=(),
            diagnosis=(),
            gradients=None,
            policy=choose_policy("float32", None, None, None),
            prompt_task="",
            prompts=None,
            checkpoint={"reference": "", "candidate": ""},
            notices=(),
        )
    )
    assert verdict.verdict == "fail"
    assert verdict.headline == f"the {side} was fed other targets than the case holds: labels"


def test_a_backend_without_gradients_is_refused():
    class Forward:
        load_report = identity = None

        def forward(self, inputs):
            return {}

        def rows(self, inputs, positions):
            return np.zeros(0)

    run = Run("own", "", "CPU", "float32", "eager", "", gradients=True)
    with pytest.raises(MindportError, match="'own' gives no gradients") as raised:
        _gradients(Forward(), run, {}, {})
    assert raised.value.exit_code == 2
