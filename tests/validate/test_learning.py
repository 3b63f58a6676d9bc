"""Prompts learned on torch and on MindSpore: the same gradients, the same curves."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from mindport.migrate.porting import port, prepare
from mindport.prompts.learning import LearningData, LearningSettings, compare_results, train
from mindport.prompts.learning.data import PromptSet
from mindport.prompts.learning.evaluation import mean_loss
from mindport.prompts.learning.model import LabelWords
from mindport.prompts.learning.variants import Disturbed, Reordered
from mindport.prompts.task import load_task
from mindport.validate.backend import load_backend
from mindport.validate.case import Run, SettledCase
from mindport.validate.learning.cli import learn
from mindport.validate.learning.report import sparkline

ARCHITECTURES = {"gpt2": ("lm", "prefix"), "bert": ("mlm", "cloze")}
TOKENS = 3
pytestmark = pytest.mark.xdist_group("learning")


def open_model(backend, folder, architecture):
    head, _ = ARCHITECTURES[architecture]
    run = Run(backend, str(folder), "CPU", "float32", "eager", "", threads=1)
    session = load_backend(backend).open_session(
        run, SettledCase(architecture, head, 0, (), {}, False)
    )
    return session.learnable_model()


@pytest.fixture(scope="module")
def models(frameworks, small_checkpoint, tmp_path_factory):
    """Return both sides' network, by architecture."""
    made = {}

    def make(architecture):
        if architecture not in made:
            head, _ = ARCHITECTURES[architecture]
            source = small_checkpoint(architecture, head)
            target = tmp_path_factory.mktemp("ported") / architecture
            port(prepare(source, architecture, head=head, to="mindspore"), target)
            made[architecture] = (
                open_model("torch", source, architecture),
                open_model("mindspore", target, architecture),
            )
        return made[architecture]

    return make


def make_prompts(count, slots, seed, shape):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    at = 1 if shape == "cloze" else 0
    prompts, rows = [], []
    for label in labels:
        text = rng.integers(1, 80, rng.integers(5, 12))
        text[1] = 80 + label
        prompts.append(np.insert(text.astype(np.int64), at, [0] * slots))
        rows.append(slots + 2 if shape == "cloze" else len(prompts[-1]) - 1)
    return PromptSet(
        tuple(f"{seed}-{item}" for item in range(count)),
        tuple(prompts),
        np.array(rows, np.int64),
        np.tile(at + np.arange(slots, dtype=np.int64), (count, 1)),
        labels.astype(np.int64),
    )


def make_learning_data(architecture, method):
    shape = ARCHITECTURES[architecture][1]
    slots = 0 if method == "prefix-tuning" else TOKENS
    weights = np.array([[1, 0, 0], [0, 0.5, 0.5]], np.float32)
    return LearningData(
        task="small",
        task_version=1,
        shape=shape,
        template="",
        labels=("a", "b"),
        words=LabelWords(np.array([90, 91, 92], np.int64), weights),
        train=make_prompts(12, slots, 1, shape),
        evaluation=make_prompts(6, slots, 2, shape),
        start=np.array([3, 4, 5], np.int64),
        allowed=np.arange(1, 80, dtype=np.int64),
        pad=95,
        positions=40,
    )


def learned_arrays(model, method):
    rng = np.random.default_rng(5)
    sizes = model.sizes
    if method == "prefix-tuning":
        shape = (sizes.layers, 2, sizes.heads, TOKENS, sizes.head_dim)
        return {"prefix": rng.normal(0, 0.5, shape).astype(np.float32)}
    return {"soft": rng.normal(0, 0.5, (TOKENS, sizes.width)).astype(np.float32)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sizes_and_embeddings_agree(models, architecture):
    torch, mindspore = models(architecture)
    assert torch.sizes == mindspore.sizes
    assert torch.sizes.layers == 3
    assert (torch.embeddings() == mindspore.embeddings()).all()


@pytest.mark.parametrize("method", ["soft-prompt", "prefix-tuning"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_agree_and_are_true(models, architecture, method):
    torch, mindspore = models(architecture)
    data = make_learning_data(architecture, method)
    batch = data.batch(data.train, np.arange(6))
    learned = learned_arrays(torch, method)
    (name,) = learned
    loss, logits, found = torch.gradients(batch, learned)
    other_loss, other_logits, other = mindspore.gradients(batch, learned)
    assert loss == pytest.approx(mean_loss(logits, batch.labels), abs=1e-6)
    assert other_loss == pytest.approx(loss, abs=1e-5)
    np.testing.assert_allclose(other_logits, logits, atol=2e-5)
    np.testing.assert_allclose(mindspore.logits(batch, learned), other_logits, atol=2e-5)
    size = np.linalg.norm(found[name])
    assert size > 0
    assert np.linalg.norm(other[name] - found[name]) < 2e-5 * size
    # Finite differences, in float64.
    wide, way = torch.wide(), np.random.default_rng(0).normal(size=found[name].shape)
    ends = [
        mean_loss(
            wide.logits(batch, {name: (learned[name] + step * way).astype(np.float32)}),
            batch.labels,
        )
        for step in (0.01, -0.01)
    ]
    assert (ends[0] - ends[1]) / 0.02 == pytest.approx((found[name] * way).sum(), rel=0.02)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_layer_of_a_prefix_counts(models, architecture):
    torch, mindspore = models(architecture)
    data = make_learning_data(architecture, "prefix-tuning")
    batch = data.batch(data.train, np.arange(4))
    learned = learned_arrays(torch, "prefix-tuning")
    before = torch.logits(batch, learned)
    for layer in range(3):
        for part in range(2):
            changed = learned["prefix"].copy()
            changed[layer, part] *= -1
            mine = torch.logits(batch, {"prefix": changed})
            assert np.abs(mine - before).max() > 1e-4
    theirs = mindspore.logits(batch, {"prefix": changed})
    np.testing.assert_allclose(theirs, mine, atol=2e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_embeddings_of_real_tokens_are_those_tokens(models, architecture):
    """What stands at a slot is read, and read as the token itself would be."""
    torch, mindspore = models(architecture)
    data = make_learning_data(architecture, "autoprompt")
    batch = data.batch(data.train, np.arange(4))
    tokens = np.array([7, 8, 9])
    filled = replace(batch, input_ids=batch.input_ids.copy())
    filled.input_ids[np.arange(4)[:, None], batch.slots] = tokens
    for model in (torch, mindspore):
        soft = {"soft": model.embeddings()[tokens]}
        np.testing.assert_array_equal(model.logits(batch, soft), model.logits(filled, {}))
        assert np.abs(model.logits(batch, {}) - model.logits(filled, {})).max() > 1e-3


RUNS = [
    ("gpt2", "soft-prompt"),
    ("gpt2", "p-tuning"),
    ("gpt2", "prefix-tuning"),
    ("gpt2", "autoprompt"),
    ("bert", "soft-prompt"),
    ("bert", "prefix-tuning"),
    ("bert", "autoprompt"),
]


@pytest.mark.parametrize(("architecture", "method"), RUNS, ids=map("-".join, RUNS))
def test_trainings_agree(models, architecture, method):
    torch, mindspore = models(architecture)
    data = make_learning_data(architecture, method)
    steps = 2 if method == "autoprompt" else 5  # each of these is many forward passes
    asked = LearningSettings(method, tokens=TOKENS, steps=steps, batch_size=6, candidates=2)
    reference = train(torch, data, asked)
    floors = [
        ("reordered", train(Reordered(torch), data, asked)),
        ("disturbed", train(Disturbed(torch, 0), data, asked)),
        ("float64", train(torch.wide(), data, asked)),
    ]
    parity = compare_results(reference, train(mindspore, data, asked), floors)
    assert parity.ok, parity.problem
    assert parity.informative
    assert parity.divergence is None
    assert parity.agreement == 1
    wrong = replace(asked, learning_rate=1.02 * asked.rate(1))
    if method != "autoprompt":
        off = replace(train(torch, data, wrong), settings=asked.to_dict())
        assert not compare_results(reference, off, floors).ok


def test_a_learned_prefix_leaves_the_model_as_it_was(models):
    torch, _ = models("gpt2")
    data = make_learning_data("gpt2", "prefix-tuning")
    batch = data.batch(data.train, np.arange(4))
    before = torch.logits(batch, {})
    torch.gradients(batch, learned_arrays(torch, "prefix-tuning"))
    assert (torch.logits(batch, {}) == before).all()


def test_a_head_without_words_is_refused(frameworks, small_checkpoint):
    folder = small_checkpoint("gpt2", "sequence-classification")
    run = Run("torch", str(folder), "CPU", "float32", "eager", "", threads=1)
    case = SettledCase("gpt2", "sequence-classification", 0, (), {}, False)
    with pytest.raises(Exception, match="predicts no words"):
        load_backend("torch").open_session(run, case).learnable_model()


def run_learn(*argv):
    """Run the command on the task's own demonstrations, unless told otherwise."""
    if "--train" not in argv:
        data = load_task("sentiment").data.path
        argv = (*argv, "--train", data.with_name("sentiment-shots.jsonl"))
    return CliRunner().invoke(learn, [str(word) for word in argv])


@pytest.mark.slow
def test_the_command_learns_and_writes(frameworks, tmp_path):
    out = tmp_path / "out"
    done = run_learn(
        "sentiment", "gpt2", "--method", "soft-prompt", "--tokens", 2, "--steps", 2,
        "--batch-size", 4, "--limit", 6, "--mode", "eager", "--threads", 1, "-o", out,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    verdict = json.loads((out / "verdict.json").read_text())
    assert verdict["verdict"] == "pass"
    assert verdict["identity"]["candidate"]["framework"] == "mindspore"
    assert len(verdict["curves"]["candidate"]) == 2
    assert {path.name for path in out.iterdir()} == {"verdict.json", "reference", "candidate"}
    assert len(list((out / "reference" / "floors").iterdir())) == 3
    again = run_learn("sentiment", "gpt2", "--method", "soft-prompt", "-o", out)
    assert again.exit_code == 2
    assert "exists already" in again.output


def test_a_worker_that_dies_is_not_run(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho last words\nexit 7\n")
    python.chmod(0o755)
    done = run_learn(
        "sentiment", "gpt2", "--method", "soft-prompt", "--python", python,
        "--reference-python", python,
    )  # fmt: skip
    assert done.exit_code == 3, done.output
    assert "last words" in done.output


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--train", "held-out"], "are held out, too"),
        (["--backend", "torch"], "give two of"),
        (["--tokens", "500"], "leave no room"),
        (["--learning-rate", "0"], "above 0"),
        (["--validation", "1"], "from 0 to below 1"),
    ],
    ids=["held-out", "backend", "tokens", "rate", "validation"],
)
def test_bad_requests_are_explained(argv, message):
    held_out = str(load_task("sentiment").data.path)
    argv = [held_out if word == "held-out" else word for word in argv]
    done = run_learn("sentiment", "gpt2", "--method", "soft-prompt", *argv)
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aggregate: max", "aggregate: max"),
        ("calibration: {kind: contextual}", "calibration: contextual"),
    ],
)
def test_scores_that_cannot_be_learned_are_refused(tmp_path, text, message):
    task = load_task("sentiment")
    source = task.data.path.parent.parent / "sentiment.yaml"
    content = source.read_text().replace("data/", f"{task.data.path.parent}/")
    (tmp_path / "mine.yaml").write_text(f"{content}\n{text}\n")
    done = run_learn(tmp_path / "mine.yaml", "gpt2", "--method", "soft-prompt")
    assert done.exit_code == 2, done.output
    assert message in done.output


def test_a_curve_is_one_line():
    assert sparkline([3.0, 2.0, 1.0]) == "█▅▁"
    assert len(sparkline(list(range(100)), 10)) == 10
    assert sparkline([1.0]) == "▁"
