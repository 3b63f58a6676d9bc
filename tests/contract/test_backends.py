"""What every backend owes the validator; a new file in ``validate/backends/`` is tested at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mindport.migrate.architecture import network_order
from mindport.migrate.architectures import load_architecture
from mindport.migrate.checkpoints.layout import write_arrays
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.checkpoints.safetensors import safetensors_layout
from mindport.migrate.config import read_config_file, resolve_config
from mindport.migrate.errors import EnvironmentUnavailableError, MindportError, PlanError
from mindport.migrate.porting import port, prepare
from mindport.validate.backend import backend_names, load_backend
from mindport.validate.case import Run, SettledCase
from mindport.validate.inputs import make_inputs
from mindport.validate.own.contents import Fingerprint, fingerprint, locate

pytestmark = pytest.mark.xdist_group("frameworks")

RUNS = [(name, mode) for name in backend_names() for mode in load_backend(name).MODES]


OWN, EMULATED = "cell", "emulated"
PORTS = Path(__file__).parents[1] / "validate" / "ports"


@pytest.fixture
def weights(checkpoint, tmp_path):
    """Return a folder in a backend's own layout, some tensors left out."""

    def make(backend, architecture, head, leave_out=()):
        folder = checkpoint(architecture, head)
        if load_backend(backend).DIALECT == "mindspore":
            folder = port(prepare(folder, architecture), tmp_path / f"{architecture}-{head}")
        if leave_out:
            reader = open_checkpoint(folder).reader
            tensors = {n: reader.read(n) for n in reader.infos if n not in leave_out}
            infos = {n: reader.infos[n] for n in tensors}
            lacking = tmp_path / "lacking"
            lacking.mkdir()
            (lacking / "config.json").write_bytes((folder / "config.json").read_bytes())
            layout = safetensors_layout(infos, {"format": "pt"})
            write_arrays(lacking / "model.safetensors", layout, tensors.__getitem__)
            folder = lacking
        return folder

    return make


def case_of(architecture, head, folder):
    described = load_architecture(architecture)
    config = resolve_config(described, read_config_file(folder / "config.json"))
    taps = network_order(described.heads[head].taps, config[described.layers])
    inputs = make_inputs(described, described.heads[head], config, batch=3, length=12, seed=1)
    return (
        SettledCase(architecture, head, 0, tuple(t.name for t in taps), {}, False),
        inputs,
        config,
    )


def open_session(backend, folder, case, mode="eager", dtype="float32", device="CPU"):
    pytest.importorskip(load_backend(backend).FRAMEWORK)
    own = {}
    if backend == OWN:  # a user's port: here a factory of our own networks, whose names are known
        described = load_architecture(case.architecture)
        prefix = described.heads[case.head].prefix
        own = {"factory": str(PORTS / "ours.py:build"), "taps_file": str(folder / "taps.yaml")}
        attention = f"{prefix}{described.cells['attention']}"
        (folder / "taps.yaml").write_text(
            f"block.{{i}}.scores: {{cell: '{attention}', index: 1}}\n"
            f"block.{{i}}.weights: {{cell: '{attention}', index: 2}}\n"
        )
    if backend == EMULATED:
        own = {"unit": "hf32"}
    run = Run(backend, str(folder), device, dtype, mode, "", **own)
    return load_backend(backend).open_session(run, case)


@pytest.mark.parametrize(("backend", "mode"), RUNS)
def test_every_head(backend, mode, every_head, weights):
    architecture, head = every_head
    folder = weights(backend, architecture, head)
    case, inputs, config = case_of(architecture, head, folder)
    session = open_session(backend, folder, case, mode)

    assert session.load_report.clean, session.load_report
    assert session.load_report.loaded > 40
    identity = session.identity
    device = "Ascend (emulated)" if backend == EMULATED else "CPU"
    assert (identity.backend, identity.device, identity.dtype, identity.mode) == (
        backend, device, "float32", mode)  # fmt: skip

    taps = session.forward(inputs)
    assert tuple(taps) == case.taps
    described = load_architecture(architecture)
    for name, array in taps.items():
        assert array.dtype == np.float32, name
        # Two masks of the lowest number, added, hide with minus infinity.
        hidden = name.endswith(".scores") & (array == -np.inf)
        assert (np.isfinite(array) | hidden).all(), name
        width = taps["embeddings"].shape[-1]
        if name.endswith((".scores", ".weights")):
            assert array.shape == (3, array.shape[1], 12, 12), name
        elif name.endswith((".up", ".activation")) and name.startswith("block"):
            assert array.shape == (3, 12, 4 * width), name
        elif name.startswith(("block", "embeddings", "final_norm")):
            assert array.shape == (3, 12, width), name
    again = session.forward(inputs)
    assert all(np.array_equal(taps[n], again[n]) for n in taps)

    if described.heads[head].prompts:
        positions = np.array([[0], [5], [3]])
        # A prompt counts positions from 0, whatever the network does.
        plain = {**inputs, "position_ids": np.tile(np.arange(12), (3, 1))}
        answered, past = session.prompt_model().answer(plain, positions)
        assert past is None
        assert answered.shape == (3, 1, config["vocab_size"])
        rows, positions = answered[:, 0], positions[:, 0]
        # A graph without the taps may fuse otherwise, hence not bit for bit.
        np.testing.assert_allclose(rows, taps["logits"][np.arange(3), positions], atol=1e-5)


@pytest.mark.parametrize("backend", sorted({*backend_names()} - {OWN, EMULATED}))
def test_what_is_missing_is_reported(backend, weights):
    name = {"torch": "transformer.h.1.ln_2.bias", "mindspore": "transformer.h.1.ln_2.beta"}[
        load_backend(backend).DIALECT
    ]
    folder = weights(backend, "gpt2", "lm", leave_out=(name,))
    case, _, _ = case_of("gpt2", "lm", folder)
    session = open_session(backend, folder, case)
    assert session.load_report.missing == (name,)
    assert not session.load_report.clean


def test_an_emulation_takes_whole_checkpoints_alone(weights):
    name = "transformer.h.1.ln_2.bias"
    folder = weights(EMULATED, "gpt2", "lm", leave_out=(name,))
    case, _, _ = case_of("gpt2", "lm", folder)
    with pytest.raises(PlanError, match=name):
        open_session(EMULATED, folder, case)


def test_a_port_of_the_users_own_shows_what_it_holds(weights):
    """It loads the weights itself, so the session reports contents instead of names."""
    name = "transformer.h.1.ln_2.beta"
    lacking = weights(OWN, "gpt2", "lm", leave_out=(name,))
    whole = lacking.with_name("gpt2-lm")
    case, _, _ = case_of("gpt2", "lm", lacking)
    held = open_session(OWN, lacking, case).notes()["parameters"]
    reader = open_checkpoint(whole).reader
    stored = {n: fingerprint(reader.read(n)) for n in reader.infos}
    found = locate(stored, {n: Fingerprint.from_dict(p) for n, p in held.items()})
    assert (found.nowhere, found.foreign) == ((name,), (name,))


@pytest.mark.parametrize("backend", backend_names())
@pytest.mark.parametrize("device", ["GPU", "Ascend"])
def test_absent_device_is_refused(backend, device, weights):
    folder = weights(backend, "gpt2", "lm")
    case, _, _ = case_of("gpt2", "lm", folder)
    with pytest.raises(EnvironmentUnavailableError, match=device):
        open_session(backend, folder, case, device=device)


@pytest.mark.parametrize("backend", sorted({*backend_names()} - {EMULATED}))
def test_half_precision_is_what_it_says(backend, weights):
    folder = weights(backend, "bert", "mlm")
    case, inputs, _ = case_of("bert", "mlm", folder)
    session = open_session(backend, folder, case, dtype="float16")
    assert session.identity.dtype == "float16"
    taps = session.forward(inputs)
    # Every value that comes out of a float16 computation is a float16.
    assert all(np.array_equal(a, a.astype(np.float16).astype(np.float32)) for a in taps.values())


def test_mindspore_has_no_bfloat16_on_the_cpu(weights):
    folder = weights("mindspore", "bert", "mlm")
    case, _, _ = case_of("bert", "mlm", folder)
    with pytest.raises(EnvironmentUnavailableError, match="bfloat16"):
        open_session("mindspore", folder, case, dtype="bfloat16")


def test_unknown_backend_gets_a_suggestion():
    with pytest.raises(MindportError, match="Did you mean 'torch'"):
        load_backend("pytorch")
