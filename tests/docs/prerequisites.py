"""What a page takes for granted: small checkpoints, recorded sides, files of one's own.

Each maker fills ``folder`` under its name. What takes seconds is made once and copied.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from mindport.migrate import port, prepare
from mindport.migrate.architectures import load_architecture
from mindport.validate import embedded_checkpoint
from mindport.validate.checkpoints import ReferenceChoice, random_checkpoint
from tests.docs.blocks import ROOT, blocks_of
from tests.docs.dumps import write_dumps
from tests.docs.runner import environment

# What is made by a command, once for all pages.
RECORDED = {
    "reference": "validate record gpt2 --reference --prompts sentiment --limit 40 -o reference",
    "capture": "validate record gpt2 --case reference -o capture",
    "report-before": "validate compare reference capture --report report-before",
}
_BEFORE = {"capture": "reference", "report-before": "capture"}

# As somebody else's network might call things: the names of docs/mapping.md.
_WIDTH, _LAYERS, _TOKENS = 8, 2, 11
_MAP = """\
tensors:
  - {source: "h.{i}.ln_1.weight", target: "blocks.{i}.norm.gamma"}
  - {source: "h.{i}.mlp.c_fc.weight", target: "blocks.{i}.up.weight", transpose: true}
  - source: "h.{i}.attn.c_attn.weight"
    target: ["blocks.{i}.q.weight", "blocks.{i}.k.weight", "blocks.{i}.v.weight"]
    split: {axis: 1}
    transpose: true
  - source: ["layer.{i}.key.bias", "layer.{i}.value.bias"]
    target: "blocks.{i}.kv.bias"
    fuse: {axis: 0}
  - {source: [wte.weight, lm_head.weight], target: table, tie: true}
drop:
  - {source: "h.{i}.attn.bias", reason: a mask}
"""


def provide(name: str, folder: Path, shared: Path) -> None:
    """Put the prerequisite ``name`` into ``folder``.

    Args:
        name: One of :data:`NAMES`.
        folder: The page's scratch folder.
        shared: A folder that all pages, and all processes of one test run, share.
    """
    if name in RECORDED:
        shutil.copytree(_recorded(name, shared), folder / name)
    elif name == "dumps":
        write_dumps(_recorded("capture", shared), folder)
    else:
        MAKERS[name](folder)


def _recorded(name: str, shared: Path) -> Path:
    """Return the folder, made by its command if no process has made it yet."""
    shared.mkdir(parents=True, exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for each in (*_chain(name), name):
            if not (shared / each).exists():
                command = ["bash", "-c", RECORDED[each]]
                subprocess.run(command, cwd=shared, env=environment(), check=True)
    return shared / name


def _chain(name: str) -> list[str]:
    before = _BEFORE.get(name)
    return [*_chain(before), before] if before else []


def _checkpoint(architecture: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        shutil.copytree(embedded_checkpoint(architecture), folder / f"{architecture}-hf")

    return make


def _pretraining(folder: Path) -> None:
    """Write a BERT with both heads of its pretraining, as `bert-base-uncased` has them."""
    choice = ReferenceChoice("random", None, "tiny", "pretraining", 0)
    random_checkpoint(load_architecture("bert"), choice, folder / "bert-hf")


def _example(folder: Path) -> None:
    shutil.copy(ROOT / "examples" / "own_port" / "my_port.py", folder)


def _ports(folder: Path) -> None:
    for path in ("examples/own_port", "tests/validate/ports"):
        shutil.copytree(ROOT / path, folder / path)


def _texts(folder: Path) -> None:
    (folder / "texts.txt").write_text("The food was good.\nNobody came back to that place.\n")


def _rows(name: str) -> Callable[[Path], None]:
    """Reviews for a task of one's own, from the rows that come with mindport."""

    def make(folder: Path) -> None:
        data = ROOT / "prompts" / "tasks" / "data"
        lines = (data / "sentiment.jsonl").read_text(encoding="utf-8").splitlines()
        (folder / name).write_text("\n".join(lines[:60]) + "\n", encoding="utf-8")

    return make


def _shots(folder: Path) -> None:
    data = ROOT / "prompts" / "tasks" / "data"
    shutil.copy(data / "sentiment-shots.jsonl", folder / "reviews-train.jsonl")


def _openprompt(folder: Path) -> None:
    """Write a template and words in the form of OpenPrompt."""
    (folder / "template.txt").write_text('{"placeholder":"text_a"} It was {"mask"}\n')
    (folder / "words.txt").write_text("bad,terrible\ngood,great\n")


def _task(folder: Path) -> None:
    """Write the task that the page on prompts shows."""
    page = (ROOT / "docs" / "prompts.md").read_text(encoding="utf-8")
    (block,) = [b for b in blocks_of(page) if b.title == "mine.yaml"]
    (folder / "mine.yaml").write_text(block.text, encoding="utf-8")


def _ported(folder: Path) -> None:
    port(prepare(embedded_checkpoint("gpt2"), "gpt2"), folder / "gpt2-ms")


def _theirs_tensors() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    table = random.normal(size=(_TOKENS, _WIDTH)).astype(np.float32)
    tensors = {"wte.weight": table, "lm_head.weight": table.copy()}
    shapes = {
        "h.{}.ln_1.weight": (_WIDTH,),
        "h.{}.mlp.c_fc.weight": (_WIDTH, 4 * _WIDTH),
        "h.{}.attn.c_attn.weight": (_WIDTH, 3 * _WIDTH),
        "h.{}.attn.bias": (4, 4),
        "layer.{}.key.bias": (_WIDTH,),
        "layer.{}.value.bias": (_WIDTH,),
    }
    for layer in range(_LAYERS):
        for name, shape in shapes.items():
            tensors[name.format(layer)] = random.normal(size=shape).astype(np.float32)
    return tensors


def _theirs(folder: Path) -> None:
    """Write a checkpoint with names that mindport does not know, and a port of it."""
    (folder / "theirs").mkdir()
    save_file(_theirs_tensors(), folder / "theirs" / "model.safetensors")
    hidden = folder / ".made"
    hidden.mkdir()
    (hidden / "map.yaml").write_text(_MAP)
    command = "migrate map ../theirs port --map map.yaml --format ckpt"
    subprocess.run(["bash", "-c", command], cwd=hidden, env=environment(), check=True)
    made = next((hidden / "port").glob("*.ckpt"))
    for name in ("my_ported.ckpt", "my_random.ckpt", "my_random_checkpoint.ckpt"):
        shutil.copy(made, folder / name)
    shutil.rmtree(hidden)


def _troubleshooter(folder: Path) -> None:
    """Write a torch file and the map that TroubleShooter writes of such a network."""
    import torch

    tensors = {"ln.weight": torch.arange(3.0), "conv.weight": torch.arange(12.0).view(2, 3, 2)}
    torch.save(tensors, folder / "theirs.pth")
    convert = "troubleshooter.migrator.mapping_relation.weight_adapter.trans_conv1d_weight_value"
    names = {"ln.weight": "ln.gamma", "conv.weight": "conv.weight"}
    content = [names, {"conv.weight": convert}]
    (folder / "torch_net_map.json").write_text(json.dumps(content))


MAKERS: dict[str, Callable[[Path], None]] = {
    "gpt2-hf": _checkpoint("gpt2"),
    "bert-hf": _checkpoint("bert"),
    "bert-hf, pretraining": _pretraining,
    "gpt2-ms": _ported,
    "mine.yaml": _task,
    "my_port.py": _example,
    "a clone's ports": _ports,
    "texts.txt": _texts,
    "reviews.jsonl": _rows("reviews.jsonl"),
    "reviews-train.jsonl": _shots,
    "rows.jsonl": _rows("rows.jsonl"),
    "template.txt": _openprompt,
    "theirs": _theirs,
    "theirs.pth": _troubleshooter,
}
NAMES = {*MAKERS, *RECORDED, "dumps"}
