"""A kernel that a device lacks is named, whatever the framework calls it."""

from __future__ import annotations

import json

import pytest

from mindport.migrate.errors import EXIT_ENVIRONMENT
from mindport.validate import worker
from mindport.validate.missing_kernel import missing_kernel

# As MindSpore 2.7.0 and torch 2.13.0 say it.
MINDSPORE = TypeError(
    "Select CPU operator[MaskedFill] fail! Unsupported data type!\nThe supported data types are "
    "input[Float16 Bool Float16], output[Float16];input[Int64 Bool Int64], output[Int64];in\n"
    " but get input[[const vector]{Float16, Bool, Int64}], output[[const vector]{Float16}].\n"
)
TORCH = NotImplementedError("\"addmm_impl_cpu_\" not implemented for 'Short'")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MINDSPORE, "MindSpore has no kernel here for MaskedFill of Float16, Bool, Int64."),
        (TORCH, "torch has no kernel here for addmm_impl_cpu_ of Short."),
    ],
)
def test_the_worker_says_which(error, said, tmp_path, monkeypatch):
    def work(*_):
        raise error

    monkeypatch.setattr(worker, "watch_parent", lambda: None)
    monkeypatch.setattr(worker.Run, "load", lambda _: None)
    monkeypatch.setattr(worker, "_work", work)
    assert worker.main("run.json", str(tmp_path / "capture")) == EXIT_ENVIRONMENT
    found = json.loads(worker.failure_path(tmp_path / "capture").read_text())
    assert found["message"] == said
    assert "--dtype" in found["hint"]


@pytest.mark.parametrize("error", [TypeError("no such argument"), RuntimeError("shapes differ")])
def test_any_other_error_is_raised(error, tmp_path, monkeypatch):
    def work(*_):
        raise error

    monkeypatch.setattr(worker, "watch_parent", lambda: None)
    monkeypatch.setattr(worker.Run, "load", lambda _: None)
    monkeypatch.setattr(worker, "_work", work)
    assert missing_kernel(error) is None
    with pytest.raises(type(error)):
        worker.main("run.json", str(tmp_path / "capture"))
    assert not worker.failure_path(tmp_path / "capture").exists()
