"""The formula is that of ``transformers``: in float64 every tap of every head is the same."""

from __future__ import annotations

import numpy as np
import pytest

from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.migrate.computation import Activate
from mindport.validate.backend import load_backend
from mindport.validate.case import Run
from mindport.validate.formula.validity import valid_elements
from tests.conftest import HEADS

pytestmark = [pytest.mark.torch, pytest.mark.xdist_group("frameworks")]

# Beside the defaults: what a config can change in the mathematics.
CONFIGS = [
    ("gpt2", "lm", {"tie_word_embeddings": False, "activation_function": "gelu"}),
    ("gpt2", "lm", {"scale_attn_by_inverse_layer_idx": True, "layer_norm_epsilon": 1e-3}),
    ("gpt2", "lm", {"scale_attn_weights": False, "activation_function": "relu", "n_inner": 50}),
    ("gpt2", "none", {"n_head": 1, "n_layer": 1}),
    ("gpt2", "sequence-classification", {"num_labels": 5, "n_head": 8}),
    ("bert", "mlm", {"tie_word_embeddings": False, "hidden_act": "relu"}),
    ("bert", "pretraining", {"hidden_act": "gelu_new", "layer_norm_eps": 1e-3}),
    ("bert", "nsp", {"type_vocab_size": 4, "num_hidden_layers": 1}),
    ("bert", "token-classification", {"num_labels": 5, "num_attention_heads": 8}),
    ("bert", "question-answering", {"intermediate_size": 24, "num_attention_heads": 1}),
    ("roberta", "mlm", {"tie_word_embeddings": False, "hidden_act": "relu", "pad_token_id": 5}),
    ("roberta", "none", {"hidden_act": "gelu_new", "layer_norm_eps": 1e-3, "type_vocab_size": 1}),
    ("distilbert", "mlm", {"tie_word_embeddings": False, "activation": "relu"}),
    ("distilbert", "sequence-classification", {"activation": "gelu_new", "num_labels": 5}),
]
EXACT = 1e-12


def compare(net, folder):
    pytest.importorskip("torch")
    run = Run("torch", str(folder), "CPU", net.dtype, "eager", "")
    session = load_backend("torch").open_session(run, net.case)
    assert session.load_report.clean, session.load_report
    oracle, formula = session.oracle(net.inputs), net.exact()
    assert tuple(oracle) == net.case.taps == tuple(formula)
    for step in net.network.steps:
        ours, theirs = formula[step.tap], oracle[step.tap]
        assert theirs.dtype == np.float64, step.tap
        assert ours.shape == theirs.shape, step.tap
        valid = valid_elements(step, net.network.setting.real, ours.shape)
        size = np.abs(theirs[valid]).max()
        assert size > 0, step.tap
        assert np.abs((ours - theirs)[valid]).max() <= EXACT * max(size, 1.0), step.tap


@pytest.mark.parametrize(("architecture", "head"), HEADS, ids=map("-".join, HEADS))
def test_every_head(small_checkpoint, small, architecture, head):
    net = small(architecture, head, batch=3, length=11)
    compare(net, small_checkpoint(architecture, head))


@pytest.mark.parametrize(
    ("architecture", "head", "config"), CONFIGS,
    ids=[f"{a}-{h}-{'-'.join(c)}" for a, h, c in CONFIGS],
)  # fmt: skip
def test_other_configs(small_checkpoint, small, architecture, head, config):
    net = small(architecture, head, config=config, batch=3, length=11)
    compare(net, small_checkpoint(architecture, head, config))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(("architecture", "head"), [("gpt2", "lm"), ("bert", "mlm")])
def test_rounded_weights(small_checkpoint, small, architecture, head, dtype):
    """The oracle of a short format is the exact network of its rounded weights."""
    net = small(architecture, head, dtype=dtype, batch=3, length=11)
    compare(net, small_checkpoint(architecture, head))


def test_a_row_without_padding_id(small_checkpoint, small):
    """Without a pad_token_id the last token counts, whatever it is; transformers takes one row."""
    config = {"pad_token_id": None}
    net = small("gpt2", "sequence-classification", config=config, batch=1, length=9)
    folder = small_checkpoint("gpt2", "sequence-classification", config)
    compare(net, folder)


def test_every_choice_of_activation_is_covered():
    for name in architecture_names():
        steps = load_architecture(name).heads["none"].steps
        field = next(s.operation.field for s in steps if isinstance(s.operation, Activate))
        (described,) = [f for f in load_architecture(name).fields if f.name == field]
        tried = {config.get(field) for a, _, config in CONFIGS if a == name} - {None}
        assert tried | {described.default} == set(described.allowed)
