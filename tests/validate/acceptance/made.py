"""Acceptances of small NumPy runs: everything but the frameworks is real."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from mindport.migrate.manifest import sha256_of
from mindport.validate.acceptance import fingerprint, references, running
from mindport.validate.acceptance.running import accept
from mindport.validate.formula.operations import evaluate
from mindport.validate.launch import NotRun
from tests.validate.recorded import make_recorded
from tests.validate.small import Small, make_small

WRONG = {"block.1.mlp": lambda step, given, setting: 1.1 * evaluate(step, given, setting)}
TASK = """
schema = 1
name = "A small GPT-2"
keep = "{keep}"

[model]
architecture = "gpt2"
checkpoint = "{checkpoint}"
heads = ["lm", "none"]

[case]
batch = 4
length = 16

[run]
backends = ["mindspore"]
devices = {devices}
modes = ["eager"]
dtypes = ["float32"]

[performance]
max_ratio = 3.0
rounds = 3

[show]
every_tap = true
operations = true
"""
NAMES = ("lm-mindspore-CPU-eager-float32", "none-mindspore-CPU-eager-float32")


@dataclass(frozen=True)
class Weighed(Small):
    """A small network whose captures name the weights that they are of.

    Attributes:
        checkpoint: Those weights.
    """

    checkpoint: Path = Path()

    def capture(self, folder, taps, *, oracle=False, **manifest):
        file = self.checkpoint / "model.safetensors"
        manifest = {"weights": {file.name: sha256_of(file)}, **manifest}
        return super().capture(folder, taps, oracle=oracle, **manifest)


@dataclass
class Workshop:
    """Runs tasks with sides that NumPy makes.

    Attributes:
        checkpoint: The weights.
        folder: Where tasks and their folders lie.
        broken: Heads whose candidate is wrong.
        absent: Devices that are not there.
        ratio: How much slower the candidate is.
        recorded: What was recorded, in order: side and head, with the device of a candidate.
        interrupt: Interrupts instead of recording this.
    """

    checkpoint: Path
    folder: Path
    broken: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=lambda: {"Ascend"})
    ratio: float = 2.0
    recorded: list[tuple[str, ...]] = field(default_factory=list)
    interrupt: tuple[str, ...] = ()

    def write(self, text=TASK, name="task.toml", **values) -> Path:
        usual = {"keep": "verdicts", "checkpoint": self.checkpoint, "devices": '["CPU"]'}
        path = self.folder / name
        path.write_text(text.format(**{**usual, **values}))
        return path

    def accept(self, task, output="out", **options):
        self.recorded.clear()
        return accept(task, self.folder / output, **options)

    def record(self, order, output, stage):
        request, side = order.request, order.side
        what = (
            side,
            request.head or self._head_of(order),
            *[request.device][side == "reference" :],
        )
        if what == self.interrupt:
            output.mkdir(parents=True)
            raise KeyboardInterrupt
        self.recorded.append(what)
        if request.device in self.absent:
            return NotRun("candidate", f"there is no {request.device} here", "Go where it is.")
        small = make_small(self.checkpoint, "gpt2", what[1], batch=4, length=16)
        small = Weighed(**vars(small), checkpoint=self.checkpoint)
        wrong = WRONG if side == "candidate" and what[1] in self.broken else {}
        output.parent.mkdir(parents=True, exist_ok=True)
        taps = small.run(wrong, seed=1 if side == "reference" else 2)
        return make_recorded(output, small, self.checkpoint, side, taps)

    @staticmethod
    def _head_of(order):
        content = json.loads((order.case / "case" / "case.json").read_text())
        return content["head"]

    def measure(self, request, floor, work):
        same = {"version": "2", "device": "CPU", "dtype": "float32", "mode": "eager"}
        times = {"reference": [1.0, 2.0, 1.0], "candidate": [self.ratio, 9.0, self.ratio]}
        seconds = {
            side: [{"wall": value, "processor": 2 * value if side == "candidate" else value}
                   for value in values]
            for side, values in times.items()
        }  # fmt: skip
        return {
            "schema": 1, "cores": 2, "seconds": seconds,
            "identity": {
                "reference": {**same, "backend": "torch", "framework": "torch"},
                "candidate": {**same, "backend": "mindspore", "framework": "mindspore"},
            },
        }  # fmt: skip


def set_up(monkeypatch, workshop):
    """Put the workshop in the place of the frameworks."""
    for module in (references, running):
        monkeypatch.setattr(module, "try_to_record", workshop.record)
    monkeypatch.setattr(running, "measure", workshop.measure)
    for name in ("jinja2", "vl_convert"):  # pages and charts are tested elsewhere, and take time
        monkeypatch.setitem(sys.modules, name, None)


def change_code(monkeypatch):
    """Let the code of mindport be another."""
    for module in (fingerprint, references):
        monkeypatch.setattr(module, "code_digest", lambda: "1" * 64)
