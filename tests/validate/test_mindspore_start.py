"""MindSpore is started for the run that was asked for, before it computes anything."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mindport.validate.backends import _mindspore_run
from mindport.validate.case import Run


@pytest.mark.parametrize(
    ("device", "mode", "first"),
    [
        ("CPU", "eager", "launch_blocking"),
        ("CPU", "graph", "settings"),
        ("Ascend:1", "eager", "settings"),
    ],
)
def test_what_is_set_before_the_first_operation(device, mode, first, monkeypatch):
    done: list[str] = []
    module = SimpleNamespace(
        PYNATIVE_MODE=1,
        GRAPH_MODE=0,
        set_context=lambda **_: None,
        runtime=SimpleNamespace(launch_blocking=lambda: done.append("launch_blocking")),
    )
    monkeypatch.setattr(_mindspore_run, "require", lambda *_: module)
    monkeypatch.setattr(_mindspore_run, "select_device", lambda *_: None)
    monkeypatch.setattr(
        _mindspore_run, "make_mindspore_repeatable", lambda *_: done.append("settings")
    )
    for proof in ("prove_device", "prove_dtype"):  # each computes something
        monkeypatch.setattr(_mindspore_run, proof, lambda *_: done.append("computed"))
    run = Run("cell", "weights", device, "float32", mode, "case")
    assert _mindspore_run.start_mindspore(run, SimpleNamespace(seed=0)) is module
    assert done[0] == first
    assert done.count("launch_blocking") == (first == "launch_blocking")
    assert done[-2:] == ["computed", "computed"]
