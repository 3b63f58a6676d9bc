"""Attention in one kernel: what is really used, which taps that hides, and what is still caught."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mindport.migrate.architecture import network_order
from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.migrate.porting import port, prepare
from mindport.validate.backend import check_choices
from mindport.validate.backends import mindspore as backend
from mindport.validate.backends._mindspore_kernels import prove_fused_attention
from mindport.validate.case import Run, SettledCase
from mindport.validate.checkpoints import embedded_checkpoint
from mindport.validate.devices import Device
from mindport.validate.inputs import make_inputs
from tests.validate.test_devices import fake_mindspore

frameworks = [
    pytest.mark.torch,
    pytest.mark.mindspore,
    pytest.mark.xdist_group("frameworks"),
    pytest.mark.usefixtures("frameworks"),
]


@pytest.mark.parametrize(
    ("name", "asked", "has"),
    [
        ("mindspore", "sdpa", "eager, fused"),
        ("torch", "fused", "eager, sdpa"),
        ("mindnlp", "fused", "eager, sdpa"),
        ("cell", "sdpa", "eager"),
        ("emulated", "fused", "eager"),
    ],
)
def test_a_backend_says_what_it_has(name, asked, has):
    with pytest.raises(MindportError, match=f"has no {asked} attention") as caught:
        check_choices(name, "eager", asked)
    assert caught.value.hint == f"It has: {has}."


@pytest.mark.parametrize("device", ["CPU", "GPU"])
def test_only_ascend_has_a_kernel(device):
    with pytest.raises(EnvironmentUnavailableError, match="is for Ascend alone") as caught:
        prove_fused_attention(fake_mindspore(), Device(device))
    assert "--attention eager" in caught.value.hint


class Found:
    """A tensor of the stand-in: it has a shape and a value."""

    shape = (1, 1, 16, 16)

    def __init__(self, value):
        self.value = value

    def asnumpy(self):
        if isinstance(self.value, Exception):
            raise self.value
        return np.full(self.shape, self.value, np.float16)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.5, "the mean of equal values"), (RuntimeError("launch failed"), "launch")],
)
def test_a_kernel_that_does_not_compute(value, said):
    mindspore = fake_mindspore()
    mindspore.ops.flash_attention_score = lambda *args, **options: Found(value)
    with pytest.raises(EnvironmentUnavailableError, match=said):
        prove_fused_attention(mindspore, Device("Ascend"))
    mindspore.ops.flash_attention_score = lambda *args, **options: Found(1.0)
    prove_fused_attention(mindspore, Device("Ascend"))


@pytest.mark.usefixtures("frameworks")
class TestFrameworks:
    pytestmark = frameworks[:3]

    def test_a_reference_by_sdpa(self, validate):
        code, verdict, output = validate("gpt2", "--reference-attention", "sdpa")
        assert code == 0, output
        used = {side: one["attention"] for side, one in verdict["identity"].items()}
        assert used == {"reference": "sdpa", "candidate": "eager"}
        names = [tap["name"] for tap in verdict["taps"]]
        assert not [name for name in names if name.endswith((".scores", ".weights"))]
        assert "block.0.context" in names
        (notice,) = (n for n in verdict["notices"] if "not captured" in n)
        assert "block.{i}.scores, block.{i}.weights" in notice
        assert "the reference's is sdpa" in notice
        assert "attention by sdpa" in output

    def test_a_fault_inside_is_still_caught(self, validate, tmp_path):
        folder = port(prepare(embedded_checkpoint("bert"), "bert"), tmp_path / "ported")
        tensors = load_file(folder / "model.safetensors")
        name = "bert.encoder.layer.1.attention.self.key.weight"
        tensors[name] = np.roll(tensors[name], 1, 0)
        (folder / "model.safetensors").unlink()
        save_file(tensors, folder / "model.safetensors")
        code, verdict, output = validate(
            "bert", "--reference-attention", "sdpa", "--candidate-checkpoint", folder
        )
        assert (code, verdict["first_faulty_tap"]) == (1, "block.1.key"), output

    def test_gradients_of_an_sdpa_reference(self, validate):
        code, verdict, output = validate(
            "gpt2", "--reference-attention", "sdpa", "--gradients", "--checkpoint", "random"
        )
        assert code == 0, output
        assert verdict["gradients"]["loss_ok"]

    def test_a_fused_session(self, monkeypatch, tmp_path):
        """The whole backend, with a kernel that computes what is documented, on the CPU."""
        from mindspore import ops

        from tests.migrate.test_cells_fused import strict

        monkeypatch.setattr(ops, "flash_attention_score", strict)
        monkeypatch.setattr(backend, "prove_fused_attention", lambda *_: None)
        monkeypatch.setattr(
            "mindport.migrate.cells.pretrained.PretrainedModel.fuse_attention.__defaults__",
            (strict,),
        )
        folder = port(prepare(embedded_checkpoint("gpt2"), "gpt2"), tmp_path / "ported")
        described = load_architecture("gpt2")
        config = prepare(embedded_checkpoint("gpt2"), "gpt2").plan.config
        head = described.heads["lm"]
        taps = tuple(t.name for t in network_order(head.taps, config[described.layers]))
        inputs = make_inputs(described, head, config, batch=2, length=12, seed=0)
        case = SettledCase("gpt2", "lm", 0, taps, {}, False)

        def run(attention):
            asked = Run(
                "mindspore", str(folder), "CPU", "float16", "eager", "", attention=attention
            )
            session = backend.open_session(asked, case)
            return session.identity.attention, session.forward(inputs)

        used, found = run("fused")
        _, plain = run("eager")
        assert used == "fused"
        assert [n for n in plain if n not in found] == [
            n for n in taps if n.endswith((".scores", ".weights"))
        ]
        real = inputs["attention_mask"] != 0
        for name, array in found.items():
            a, b = array[real], plain[name][real]
            assert np.abs(a - b).max() <= 0.02 * np.abs(b).max(), name
