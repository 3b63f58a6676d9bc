"""Every fault changes what comes out, first where it says, and nothing that it should not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mindport.migrate import port, prepare
from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.migrate.computation import network_steps
from mindport.migrate.config import read_config_file, resolve_config
from mindport.migrate.errors import MindportError
from mindport.migrate.manifest import changed_files
from mindport.validate import embedded_checkpoint
from mindport.validate.backends.mindspore import open_session
from mindport.validate.case import Run, SettledCase, hash_array
from mindport.validate.checkpoints import embedded_checkpoints
from mindport.validate.diagnose.causes import CAUSES
from mindport.validate.faults import (
    FAULTS,
    HELD_OUT,
    all_faults,
    apply_network_fault,
    apply_weight_fault,
    find_fault,
)
from mindport.validate.faults.rounding import keep_bits
from mindport.validate.inputs import make_inputs

BLOCK = 2
NOISE = 1e-6  # of a tap's root mean square: what float32 leaves open
HIDDEN = -1e30  # a score below it is that of a hidden key, however low it is
# What was held out is not to be read off a list of tests.
LABELS = {fault.name: fault.name for fault in FAULTS} | {
    fault.name: f"held-out-{number}" for number, fault in enumerate(HELD_OUT, 1)
}


def homes(fault):
    """Return the architectures that a fault is tried in.

    Where the blocks are those of an architecture before, faults of a block are tried there alone.
    """
    found = []
    cells = []
    for described in map(load_architecture, ("bert", *architecture_names())):
        if any(fault.fits(described, head) for head in described.heads):
            if described.name not in found and not (fault.per_block and described.cells in cells):
                found.append(described.name)
            cells.append(described.cells)
    return found


CASES = [
    pytest.param(fault, name, id=f"{LABELS[fault.name]}-{name}")
    for fault in all_faults()
    for name in homes(fault)
]


@dataclass
class Port:
    """A ported checkpoint, and what its correct network makes of some inputs."""

    folder: Any
    architecture: Any
    head: Any
    config: dict
    inputs: dict
    weights: dict
    taps: dict = field(default_factory=dict)

    def network(self, folder=None):
        from mindport.migrate import cells

        return getattr(cells, self.head.class_name).from_checkpoint(folder or self.folder)

    def run(self, network):
        import mindspore

        mindspore.set_seed(0)
        output = network(**self.inputs, output_taps=True)
        taps = {name: tap.asnumpy() for name, tap in network.named_taps(output).items()}
        mask = self.inputs["attention_mask"].astype(bool)
        return {name: self.comparable(name, tap, mask) for name, tap in taps.items()}

    def comparable(self, name, tap, mask):
        """Leave out what has no meaning: padded positions, and how far a hidden key is hidden."""
        if name.endswith((".scores", ".weights")):
            tap = np.maximum(tap, HIDDEN)
            return np.moveaxis(tap, 2, 1)[mask]
        return tap[mask] if tap.shape[:2] == mask.shape else tap


@pytest.fixture(scope="module")
def ported(tmp_path_factory, checkpoint):
    """Return the port of an architecture, with the head that a fault needs."""
    pytest.importorskip("mindspore")
    made = {}

    def make(fault, name):
        described = load_architecture(name)
        heads = (described.default_head, *reversed(described.heads))
        head = next(head for head in heads if fault.fits(described, head))
        if (name, head) not in made:
            trained = head == described.default_head and embedded_checkpoints(name)
            source = embedded_checkpoint(name) if trained else checkpoint(name, head)
            folder = port(prepare(source, name), tmp_path_factory.mktemp(name) / "ms")
            config = resolve_config(described, read_config_file(folder / "config.json"))
            inputs = make_inputs(
                described, described.heads[head], config, batch=3, length=24, seed=5
            )
            inputs = {key: array.astype(np.int32) for key, array in inputs.items()}
            new = Port(folder, described, described.heads[head], config, inputs, stored(folder))
            new.taps = new.run(new.network())
            made[name, head] = new
        return made[name, head]

    return make


@pytest.fixture(scope="module")
def seen():
    """Return the outcomes of faults so far: two with the same would be one fault."""
    return {}


def stored(folder):
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def check_what_changed(fault, right, folder):
    before, after = right.weights, stored(folder)
    changed = [key for key in after if not np.array_equal(after[key], before.get(key))]
    assert changed
    if fault.per_block:
        assert all(f".{BLOCK}." in key for key in changed), changed
    assert not (folder / "manifest.json").exists()
    assert changed_files(right.folder) == []  # the source is as it was ported


def broken(fault, name, right, tmp_path, severity=None):
    """Return the network with the fault in it."""
    choice = {"name": fault.name, "block": BLOCK, "severity": severity}
    if fault.kind == "weights":
        folder = tmp_path / f"faulty-{severity}"
        apply_weight_fault(right.folder, folder, name, right.head.name, choice)
        check_what_changed(fault, right, folder)
        return right.network(folder)
    import mindspore

    network = right.network()
    apply_network_fault(mindspore, network, name, right.head.name, choice)
    return network


def difference(tap, right, largest=np.max):
    scale = np.sqrt(np.mean(np.square(right[right > HIDDEN], dtype=np.float64)))
    return float(largest(np.abs(tap.astype(np.float64) - right)) / scale)


@pytest.mark.mindspore
@pytest.mark.xdist_group("more-frameworks")
@pytest.mark.parametrize(("fault", "name"), CASES)
def test_shows_first_where_it_says(ported, seen, tmp_path, fault, name):
    right = ported(fault, name)
    taps = right.run(broken(fault, name, right, tmp_path))
    expected = fault.tap_at(name, BLOCK)
    layers = right.config[right.architecture.layers]
    order = [step.tap for step in network_steps(right.head.steps, layers)]
    assert expected in order
    differences = {tap: difference(taps[tap], right.taps[tap]) for tap in order}
    # Up to there the inputs are the right network's, and so the values must be its own.
    first = next((tap for tap in order if differences[tap] != 0), None)
    assert first == expected, {tap: value for tap, value in differences.items() if value}
    assert differences[expected] > NOISE
    outputs = [tap.name for tap in right.head.taps if tap.output] or order[-1:]
    assert max(differences[tap] for tap in outputs) > NOISE
    assert all(np.isfinite(tap).all() for tap in taps.values())
    outcome = tuple(hash_array(taps[tap]) for tap in outputs)
    assert seen.setdefault((name, outcome), fault.name) == fault.name


SWEPT = [
    pytest.param(fault, homes(fault)[0], id=LABELS[fault.name])
    for fault in all_faults()
    if fault.severities
]


@pytest.mark.mindspore
@pytest.mark.xdist_group("more-frameworks")
@pytest.mark.parametrize(("fault", "name"), SWEPT)
def test_severities_go_from_gross_to_subtle(ported, tmp_path, fault, name):
    right = ported(fault, name)
    tap = fault.tap_at(name, BLOCK)
    ends = fault.severities[0], fault.severities[-1]
    gross, subtle = (
        difference(
            right.run(broken(fault, name, right, tmp_path, s))[tap], right.taps[tap], np.mean
        )
        for s in ends
    )
    assert gross > 2 * subtle > 0


@pytest.mark.parametrize("fault", all_faults(), ids=lambda fault: LABELS[fault.name])
def test_is_described(fault):
    assert {fault.cause, *fault.also} <= set(CAUSES) - {"unknown"}
    assert fault.cause not in fault.also
    assert fault.title
    assert fault.kind in ("weights", "network")
    assert find_fault(fault.name) is fault
    if fault.severities:
        assert fault.severity in fault.severities
    assert homes(fault)


def test_names_are_unique():
    names = [fault.name for fault in all_faults()]
    assert len(names) == len(set(names)) == len(FAULTS) + len(HELD_OUT)
    assert len(FAULTS) >= 30
    assert len(HELD_OUT) >= 20


@pytest.mark.mindspore
@pytest.mark.xdist_group("more-frameworks")
def test_the_backend_breaks_what_a_run_asks_for(ported, monkeypatch):
    # A device can be chosen once in a process, and other tests share this one.
    monkeypatch.setattr("mindport.validate.backends._mindspore_run.select_device", lambda *_: None)
    fault = find_fault("relu-for-gelu")
    right = ported(fault, "bert")
    case = SettledCase("bert", "mlm", 0, tuple(right.taps), {}, False)
    run = Run("mindspore", str(right.folder), "CPU", "float32", "eager", "")
    inputs = {key: array.astype(np.int64) for key, array in right.inputs.items()}
    faulty = open_session(replace(run, fault={"name": fault.name, "block": 1}), case)
    taps, correct = faulty.forward(inputs), open_session(run, case).forward(inputs)
    changed = [name for name in taps if not np.array_equal(taps[name], correct[name])]
    assert changed[0] == "block.1.activation"


@pytest.mark.parametrize(
    ("name", "architecture", "message"),
    [
        ("relu-for-gelo", "bert", "Did you mean"),
        ("query-key-swapped", "bert", "fault of the weights"),
        ("causal-mask-missing", "bert", "does not fit"),
        ("relu-for-gelu", "bert", "eager"),
    ],
)
def test_what_cannot_be_broken_is_refused(name, architecture, message):
    graph = SimpleNamespace(PYNATIVE_MODE=1, get_context=lambda _: 0)
    with pytest.raises(MindportError) as raised:
        apply_network_fault(graph, None, architecture, "mlm", {"name": name})
    assert message in str(raised.value)


def test_every_cause_but_unknown_has_a_fault():
    assert {fault.cause for fault in FAULTS} == set(CAUSES) - {"unknown"}


def test_keeps_as_many_bits_as_asked():
    array = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    half = array.astype(np.float16).astype(np.float32)
    normal = np.abs(array) > 1e-4  # below, float16 has fewer bits
    assert np.array_equal(keep_bits(array, 10)[normal], half[normal])
    assert keep_bits(np.float32([0.0, 1.0 + 2**-8]), 7).tolist() == [0.0, 1.0]
