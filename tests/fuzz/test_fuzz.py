"""The corpus, every find of the past, and a short run of the fuzzer with a fixed seed."""

from __future__ import annotations

import random
import time

import pytest

from mindport.migrate.checkpoints.formats import FORMATS
from tests.fuzz.harness import TARGETS, TooSlowError, examine_file, examine_memory, time_limit
from tests.fuzz.mutate import mutate
from tests.fuzz.run import CORPUS, Finds, run_own, seeds_of

FILES = sorted(path for target in TARGETS for path in (CORPUS / target).iterdir())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_corpus(path, tmp_path):
    target = path.parent.name
    seed = not path.name.startswith("find-")
    data = path.read_bytes()
    accepted = examine_memory(target, data)
    assert accepted or not seed
    if target in FORMATS:
        assert examine_file(target, data, tmp_path) == accepted


@pytest.mark.parametrize("target", TARGETS)
def test_a_short_run_finds_nothing(target, tmp_path):
    finds = Finds(tmp_path / "finds")
    accepted = run_own(target, 400, 20, finds)
    assert not finds.places
    assert accepted  # or the mutations only ever test the first line of a reader


@pytest.mark.parametrize("target", FORMATS)
def test_a_short_run_with_files(target, tmp_path):
    rng = random.Random(21)
    seeds = seeds_of(target)
    for _ in range(40):
        examine_file(target, mutate(target, rng.choice(seeds), seeds, rng), tmp_path)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (KeyError("a"), "KeyError"),
        (MemoryError(), "MemoryError"),
        (RecursionError(), "RecursionError"),
    ],
)
def test_a_fault_is_found(broken, said, tmp_path, monkeypatch):
    def fail(*_):
        raise broken

    monkeypatch.setattr("mindport.migrate.checkpoints.safetensors.parse_json", fail)
    finds = Finds(tmp_path)
    run_own("safetensors", 20, 1, finds)
    assert said in next(iter(finds.places))
    assert len(list(tmp_path.iterdir())) == len(finds.places) == 1


def test_wrong_spans_and_slowness_are_found(monkeypatch):
    data = (CORPUS / "ckpt" / "few.ckpt").read_bytes()
    monkeypatch.setattr(
        "mindport.migrate.checkpoints.mindspore_ckpt.CkptReader.spans", lambda *_: ()
    )
    with pytest.raises((AssertionError, ValueError)):
        examine_memory("ckpt", data)
    with pytest.raises(TooSlowError), time_limit(0.05):
        time.sleep(5)
