"""What answers prompts: rows of logits, the same with a cache as without, the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.migrate.errors import MindportError
from mindport.migrate.porting import port, prepare
from mindport.validate.backend import (
    ControlSession,
    PromptSession,
    Session,
    backend_names,
    load_backend,
)
from mindport.validate.case import Run, SettledCase

pytestmark = [
    pytest.mark.xdist_group("frameworks"),
    pytest.mark.torch,
    pytest.mark.mindspore,
]
torch = pytest.importorskip("torch")
mindspore = pytest.importorskip("mindspore")

FLOAT32 = 2e-5  # cached against uncached; logits of about 1, seen 1e-6
BETWEEN = 1e-4  # torch against MindSpore
OWN = "cell"
RUNS = [(n, mode) for n in ("torch", "mindspore", OWN) for mode in load_backend(n).MODES]
CONFIG = {
    "gpt2": {"n_layer": 2, "n_head": 2, "initializer_range": 0.2},
    "bert": {"num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.2},
    "roberta": {"num_hidden_layers": 1, "num_attention_heads": 2, "initializer_range": 0.2},
    "distilbert": {"n_layers": 1, "n_heads": 2, "initializer_range": 0.2},
}
CLOZE = [(n, h) for n in architecture_names() for h in load_architecture(n).heads
         if load_architecture(n).heads[h].prompts == "cloze"]  # fmt: skip

random = np.random.default_rng(4)
PREFIX = random.integers(1, 500, 5)
PROMPTS = [random.integers(1, 500, n) for n in (4, 6, 3)]
WORDS = [random.integers(1, 500, n) for n in (2, 1)]


@pytest.fixture(autouse=True)
def eager_afterwards() -> Iterator[None]:
    yield
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)


Open = Callable[..., Session]


@pytest.fixture(scope="module")
def open_session(checkpoint: Any, tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Open a session of a backend on the same random weights."""
    ported: dict[tuple[str, str], Path] = {}

    def open_one(
        backend: str, mode: str = "eager", name: str = "gpt2", head: str = "lm", dtype="float32"
    ) -> Session:
        source = checkpoint(name, head, **CONFIG[name])
        if (name, head) not in ported:
            target = tmp_path_factory.mktemp("ported") / "mindspore"
            ported[name, head] = port(prepare(source, name), target)
        folder = source if backend == "torch" else ported[name, head]
        factory = str(Path(__file__).parent / "ports" / "ours.py") + ":build"
        own = {"factory": factory} if backend == OWN else {}
        run = Run(backend, str(folder), "CPU", dtype, mode, "", **own)
        return load_backend(backend).open_session(run, SettledCase(name, head, 0, (), {}, True))

    return open_one


def fed(sequences: list[np.ndarray], past: np.ndarray, before: np.ndarray) -> dict[str, Any]:
    """Return sequences padded on the right.

    Args:
        sequences: Token ids.
        past: The mask of what is in the cache, (batch, past).
        before: How many real tokens that are, (batch,).
    """
    width = max(map(len, sequences))
    ids = np.array([[*s, *[0] * (width - len(s))] for s in sequences])
    mask = np.array([[1] * len(s) + [0] * (width - len(s)) for s in sequences])
    return {
        "input_ids": ids,
        "position_ids": before[:, None] + np.arange(width),
        "token_type_ids": np.zeros_like(ids),
        "attention_mask": np.concatenate([past, mask], 1),
    }


def whole(model: Any, sequence: np.ndarray) -> np.ndarray:
    """Return all logits of one sequence, (seq, vocab), computed without a cache."""
    inputs = fed([sequence], np.zeros((1, 0), int), np.array([0]))
    rows, past = model.answer(inputs, np.arange(len(sequence))[None])
    assert past is None
    assert rows.dtype == np.float32
    return rows[0]


def expected(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return what :func:`cached` should, from whole sequences that run alone."""
    prompts, words = [], []
    for i, prompt in enumerate(PROMPTS):
        start = len(PREFIX)
        logits = whole(model, np.concatenate([PREFIX, prompt]))
        prompts.append(logits[[start + len(prompt) - 1, start]])
        for word in WORDS if i else WORDS[:1] * 2:
            logits = whole(model, np.concatenate([PREFIX, prompt, word]))
            words.append(logits[start + len(prompt) + len(word) - 1])
    return np.stack(prompts), np.stack(words)


def cached(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of padded prompts after a shared prefix, and of words after the prompts.

    Every cache is used twice, and must give the same twice.
    """
    lengths = np.array([len(p) for p in PROMPTS])
    nothing = np.zeros((1, 0), int)
    empty = model.cache(1, len(PREFIX))
    inputs = fed([PREFIX], nothing, np.array([0]))
    _, prefix = model.answer(inputs, np.array([[0]]), empty)

    before = np.full(3, len(PREFIX))
    inputs = fed(PROMPTS, np.ones((3, len(PREFIX)), int), before)
    at = np.stack([lengths - 1, np.zeros(3, int)], 1)
    first, past = model.answer(inputs, at, model.select(prefix, np.zeros(3, int), 8))
    again, _ = model.answer(inputs, at, model.select(prefix, np.zeros(3, int), 8))
    assert np.array_equal(first, again)

    index = np.array([0, 0, 1, 1, 2, 2])
    words = [WORDS[0], WORDS[0], *WORDS, *WORDS]
    mask = inputs["attention_mask"][index]
    inputs = fed(words, mask, (before + lengths)[index])
    at = np.array([[len(word) - 1] for word in words])
    second, _ = model.answer(inputs, at, model.select(past, index, 2))
    again, _ = model.answer(inputs, at, model.select(past, index, 2))
    assert np.array_equal(second, again)
    return first, second[:, 0]


@pytest.mark.parametrize(("backend", "mode"), RUNS)
def test_a_cache_changes_nothing(open_session: Open, backend: str, mode: str) -> None:
    session = open_session(backend, mode)
    assert isinstance(session, PromptSession)
    model = session.prompt_model()
    found = cached(model)
    reference = expected(open_session("torch").prompt_model())
    # A graph would be compiled for the length of every sequence.
    wanted = reference if mode == "graph" else expected(model)
    for rows, alone, theirs in zip(found, wanted, reference, strict=True):
        assert rows.shape == alone.shape
        assert np.abs(rows - alone).max() < FLOAT32
        assert np.abs(rows - theirs).max() < BETWEEN
        assert np.ptp(rows, axis=0).min() > 100 * BETWEEN  # the rows are not all alike
    if mode == "graph":  # neither rows nor caches are constants of a graph
        before = len(session._network.compile_cache)
        cached(model)
        assert len(session._network.compile_cache) == before


@pytest.mark.parametrize("backend", ["torch", "mindspore"])
def test_float16(open_session: Open, backend: str) -> None:
    model = open_session(backend, dtype="float16").prompt_model()
    reference = expected(open_session("torch").prompt_model())
    for rows, wanted in zip(cached(model), reference, strict=True):
        assert rows.dtype == np.float32
        assert np.array_equal(rows, rows.astype(np.float16))
        assert np.abs(rows - wanted).max() < 0.02 * np.abs(wanted).max()


@pytest.mark.parametrize(("name", "head"), CLOZE)
@pytest.mark.parametrize(("backend", "mode"), RUNS)
def test_masked_words(open_session: Open, backend: str, mode: str, name: str, head: str) -> None:
    model = open_session(backend, mode, name, head).prompt_model()
    inputs = fed(PROMPTS, np.zeros((3, 0), int), np.zeros(3, int))
    at = np.array([[0, 3], [5, 0], [2, 1]])
    rows, past = model.answer(inputs, at)
    assert past is None
    theirs = open_session("torch", "eager", name, head).prompt_model()
    for i, prompt in enumerate(PROMPTS):
        assert np.abs(rows[i] - whole(theirs, prompt)[at[i]]).max() < BETWEEN
    for call in (
        lambda: model.cache(3, 8),
        lambda: model.select(object(), np.zeros(3, int), 8),
        lambda: model.answer(inputs, at, object()),
    ):
        with pytest.raises(MindportError, match="cannot go on from a cache"):
            call()


def test_all_that_a_capacity_holds_and_no_more(open_session: Open) -> None:
    model = open_session("mindspore").prompt_model()
    assert model.cache(2, 17).capacity == 32
    assert model.cache(2, 50).capacity == 64  # as many as there are positions
    with pytest.raises(MindportError, match=r"65 tokens, padding included, .* 64 positions"):
        model.cache(2, 65)
    inputs = fed([PREFIX], np.zeros((1, 0), int), np.array([0]))
    _, past = model.answer(inputs, np.array([[0]]), model.cache(1, 5))
    assert (past.rows, past.capacity) == (5, 16)
    assert model.select(past, np.zeros(2, int), 12).capacity == 32
    with pytest.raises(MindportError, match="65 tokens"):
        model.select(past, np.zeros(2, int), 60)


def test_many_rows_of_one_sequence_are_views(open_session: Open) -> None:
    model = open_session("torch").prompt_model()
    inputs = fed([PREFIX], np.zeros((1, 0), int), np.array([0]))
    _, past = model.answer(inputs, np.array([[0]]), model.cache(1, 5))
    many = model.select(past, np.zeros(100, int), 3)
    keys = many.layers[1].keys
    assert keys.shape == (100, 2, 5, 32)
    assert keys.data_ptr() == past.layers[1].keys.data_ptr()


@pytest.mark.parametrize("name", architecture_names())
def test_only_the_wanted_rows_are_projected(open_session: Open, name: str) -> None:
    """And the projection is the module that hidden states go into first."""
    for head in load_architecture(name).heads.values():
        assert bool(head.projection) == bool(head.prompts)
        if not head.prompts:
            continue
        session = open_session("torch", "eager", name, head.name)
        seen: list[Any] = []
        module = session._model.get_submodule(head.projection)
        module.register_forward_hook(lambda _module, _given, out, seen=seen: seen.append(out))
        inputs = fed(PROMPTS, np.zeros((3, 0), int), np.zeros(3, int))
        rows, _ = session.prompt_model().answer(inputs, np.array([[1, 2], [0, 5], [2, 2]]))
        (projected,) = seen
        assert rows.shape == (3, 2, 512)
        assert projected.shape[:2] == (3, 2)
        if projected.shape[-1] == 512:
            assert np.array_equal(projected.numpy(), rows)
        # Nothing stays behind: the session sees all positions.
        output = session._run({n: inputs[n] for n in head.inputs})
        assert getattr(output, head.output_of("logits")).shape == (3, 6, 512)
        assert seen[-1].shape[:2] == (3, 6)


@pytest.mark.parametrize(("name", "head", "dtype"), [
    ("gpt2", "lm", "float16"), ("bert", "mlm", "float32"),
])  # fmt: skip
def test_a_control_has_learnt_nothing(open_session: Open, name: str, head: str, dtype: str) -> None:
    session = open_session("torch", "eager", name, head, dtype)
    assert isinstance(session, ControlSession)
    inputs = fed(PROMPTS, np.zeros((3, 0), int), np.zeros(3, int))

    def answer(model: Any) -> np.ndarray:
        rows: np.ndarray = model.answer(inputs, np.array([[1, 2], [0, 5], [2, 2]]))[0]
        return rows

    before, generator = answer(session.prompt_model()), torch.get_rng_state()
    first, same, other = (session.control_model(seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), generator)
    assert np.array_equal(answer(session.prompt_model()), before)
    assert np.array_equal(answer(first), answer(same))
    for rows in (answer(other), before):
        assert np.abs(answer(first) - rows).max() > 0.1
    parameters: Mapping[str, Any] = dict(first._model.named_parameters())
    loaded = dict(session._model.named_parameters())
    assert {n: (p.shape, p.dtype) for n, p in parameters.items()} == {
        n: (p.shape, p.dtype) for n, p in loaded.items()
    }
    assert first._model.config._attn_implementation == "eager"
    norms = [p for n, p in parameters.items() if n.endswith(("ln_1.weight", "LayerNorm.weight"))]
    assert norms
    assert all(torch.equal(p, torch.ones_like(p)) for p in norms)


def test_only_the_reference_gives_a_control() -> None:
    named = {n: load_backend(n) for n in backend_names()}
    sessions = {"torch": "TorchSession", "mindspore": "MindSporeSession", OWN: "CellSession"}
    for name, session in sessions.items():
        assert hasattr(getattr(named[name], session), "control_model") == (name == "torch")
