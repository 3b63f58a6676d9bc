"""Plans on small models whose every answer depends on every token, position and mask before it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindport.prompts import (
    Calibration,
    InputExample,
    PromptDataset,
    Shots,
    Template,
    Verbalizer,
    Word,
    make_plan,
    run_plan,
    score_rows,
)

WIDTH = 6


@dataclass
class Cache:
    hidden: np.ndarray  # float64 (batch, used, WIDTH)
    room: int
    stale: bool = False


class Network:
    """Logits from a sum over the seen tokens, each times its position's weights.

    Padding is poison: its embedding is NaN, and what is answered there is NaN.
    """

    causal = True

    def __init__(self, vocab_size, max_length, pad_id):
        rng = np.random.default_rng(7)
        self.embedding = rng.normal(size=(vocab_size, WIDTH))
        self.embedding[pad_id] = np.nan
        self.position = rng.uniform(0.5, 1.5, size=(max_length, WIDTH))
        self.head = rng.normal(size=(WIDTH, vocab_size))
        self.max_length = max_length
        self.tokens = self.headed = 0  # how many went through the body, and through the head

    def answer(self, inputs, positions, past=None):
        ids, places = inputs["input_ids"], inputs["position_ids"]
        mask, types = inputs["attention_mask"], inputs["token_type_ids"]
        assert set(inputs) == {"input_ids", "position_ids", "attention_mask", "token_type_ids"}
        batch, seq = ids.shape
        used = past.hidden.shape[1] if past is not None else 0
        assert places.shape == types.shape == (batch, seq)
        assert mask.shape == (batch, used + seq)
        assert positions.ndim == 2
        assert len(positions) == batch
        assert all(a.dtype == np.int64 for a in (*inputs.values(), positions))
        assert not types.any()
        assert set(np.unique(mask)) <= {0, 1}
        assert 0 <= places.min() <= places.max() < self.max_length
        assert used + seq <= self.max_length
        assert positions.min() >= 0
        assert positions.max() < seq
        hidden = self.embedding[ids] * self.position[places]
        if past is not None:
            assert self.causal
            assert not past.stale, "a cache that has grown is used again"
            assert len(past.hidden) == batch
            assert used + seq <= past.room, "the cache has no room"
            past.stale = True
            hidden = np.concatenate([past.hidden, hidden], axis=1)
            past = Cache(hidden, past.room)
        seen = np.where(mask[..., None] == 1, hidden, 0.0)  # (batch, used + seq, WIDTH)
        total = seen.cumsum(axis=1) if self.causal else seen.sum(axis=1, keepdims=True)
        state = np.tanh(total) + hidden
        state[mask == 0] = np.nan
        self.tokens += batch * seq
        self.headed += positions.size
        chosen = np.take_along_axis(state[:, used:], positions[..., None], axis=1)
        return chosen @ self.head, past

    def cache(self, batch, room):
        return Cache(np.zeros((batch, 0, WIDTH)), room)

    def select(self, cache, index, room):
        assert not cache.stale
        assert index.dtype == np.int64
        return Cache(cache.hidden[index].copy(), cache.hidden.shape[1] + room)

    def logits(self, ids):
        """What follows each token of a text, straight from the definition: (seq, vocabulary)."""
        hidden = self.embedding[ids] * self.position[: len(ids)]
        last = [t + 1 if self.causal else len(ids) for t in range(len(ids))]
        return np.stack(
            [(np.tanh(hidden[: last[t]].sum(axis=0)) + hidden[t]) @ self.head
             for t in range(len(ids))]
        )  # fmt: skip

    def log_probability(self, ids, at, token):
        row = self.logits(ids)[at]
        return row[token] - np.log(np.exp(row).sum())


class MaskedNetwork(Network):
    causal = False


def float64(shape):
    return np.full(shape, np.nan)


def network(plan):
    kind = Network if plan.shape == "prefix" else MaskedNetwork
    return kind(plan.tokenizer_size + 3, plan.max_length, plan.pad_id)


def equal(rows, expected):
    np.testing.assert_allclose(rows, expected, rtol=1e-12, atol=1e-12)


def both(plan, **options):
    """Run a plan either way, compare, and return the rows and the two networks."""
    fast, slow = network(plan), network(plan)
    rows = run_plan(plan, fast, allocate=float64, **options)
    single = run_plan(plan, slow, optimised=False, allocate=float64, **options)
    assert np.isfinite(rows).all()
    equal(rows, single)
    return rows, fast, slow


TEXTS = ["the film was good", "bad", "the great film: it's great, really great!", "x " * 11, "bad"]
DATA = PromptDataset(
    tuple(
        InputExample(f"i{i}", text, ("negative", "positive")[i % 2], {"title": "t" * i})
        for i, text in enumerate(TEXTS, 1)
    )
)
SHOTS = Shots(
    (
        InputExample("s1", "the sport was bad", "negative", {"title": "one"}),
        InputExample("s2", "great", "positive", {"title": "two"}),
    ),
    instruction="Topic: film or sport.",
)
WORDS = {
    "one": {"negative": ["bad", "terrible"], "positive": ["good", "great"]},
    "beginnings": {
        "negative": ["bad", "badly", "bad film", "bad sport film"],
        "positive": ["good film", "good filmxy", "great", "good"],
    },
    "few": {"negative": ["bad", "badly"], "positive": ["bad film", "good films"]},
    "unequal": {"negative": ["terribly so"], "positive": ["好", Word("so", space=False)]},
    "no one token": {"negative": ["bad it was"], "positive": ["good it was"]},
}
CALIBRATIONS = {
    "none": Calibration(),
    "contextual": Calibration("contextual"),
    "pmi": Calibration("pmi"),
    "domain": Calibration("domain", ("a film", "the sport", "a film")),
}
TWO = {
    "negative": [["bad", "terrible"], ["bad film", "bad"], ["bad", "film bad"]],
    "positive": [["good", "great"], ["goods", "great"]],
}


def planned(task, tokenizer, words="one", calibration="none", rules=None, **options):
    shape = "prefix" if tokenizer.family == "byte-bpe" else "cloze"
    words = WORDS[words] if isinstance(words, str) else words
    template = options.pop("template", None)
    task = replace(
        task,
        verbalizer=Verbalizer(words, **(rules or {})),
        calibration=CALIBRATIONS[calibration],
        templates={shape: Template(template)} if template else task.templates,
    )
    options = {"max_length": 96, "dataset": DATA, "batch_size": 3, **options}
    return make_plan(task, tokenizer, architecture_shape=shape, **options)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("shots", [None, SHOTS], ids=["zero", "shots"])
@pytest.mark.parametrize("calibration", ["none", "contextual"])
def test_optimised_is_one_by_one(task, bpe, words, shots, calibration):
    plan = planned(task, bpe, words, calibration, shots=shots)
    rows, fast, slow = both(plan)
    assert rows.shape == (plan.items, plan.rows_per_item, plan.tokenizer_size + 3)
    assert plan.items == 5 + (3 if calibration == "contextual" else 0)
    assert (plan.prefix.size > 0) == (shots is not None)
    assert fast.headed < slow.headed
    if shots is not None:
        assert fast.tokens < slow.tokens


@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
@pytest.mark.parametrize("shots", [None, SHOTS], ids=["zero", "shots"])
def test_batches_change_nothing(task, bpe, wordpiece, batch_size, shots):
    for tokenizer, options in ((bpe, {}), (wordpiece, {"rules": {"masks": "pseudo"}})):
        expected, _, _ = both(planned(task, tokenizer, "few", shots=shots, **options))
        plan = planned(task, tokenizer, "few", shots=shots, batch_size=batch_size, **options)
        rows, _, _ = both(plan)
        equal(rows, expected)
        assert max(len(batch.items) for batch in plan.batches) <= batch_size


@pytest.mark.parametrize("masks", ["joint", "pseudo"])
@pytest.mark.parametrize("calibration", CALIBRATIONS)
@pytest.mark.parametrize("shots", [None, SHOTS], ids=["zero", "shots"])
@pytest.mark.parametrize("several", [False, True], ids=["one [Z]", "three [Z]"])
def test_masks(task, wordpiece, masks, calibration, shots, several):
    options = {"words": "few"}
    if several:
        three = {label: [[*answer, "so"] for answer in answers] for label, answers in TWO.items()}
        options = {"words": three, "template": "[Z] it was [Z] . [X] [title] [Z]"}
    plan = planned(
        task, wordpiece, calibration=calibration, shots=shots, rules={"masks": masks}, **options
    )
    rows, fast, slow = both(plan)
    assert rows.shape[1] == plan.rows_per_item > 1
    assert not plan.prefix.size  # a masked model sees what follows: no cache
    assert fast.headed < slow.headed
    covered = {
        (int(item), int(first) + k)
        for batch in plan.batches
        for item, first in zip(batch.items, batch.first_rows, strict=True)
        for k in range(batch.positions.shape[1])
    }
    assert covered == {(i, r) for i in range(plan.items) for r in range(plan.rows_per_item)}


@pytest.mark.parametrize("items", [[0], [4, 1], {3, 5}, range(7)])
@pytest.mark.parametrize("shots", [None, SHOTS], ids=["zero", "shots"])
def test_some_items(task, bpe, wordpiece, items, shots):
    for tokenizer in (bpe, wordpiece):
        plan = planned(task, tokenizer, "few", "contextual", shots=shots)
        whole, _, _ = both(plan)
        rows, _, _ = both(plan, items=items)
        equal(rows, whole[sorted(items)])


def test_items_that_are_not_there(task, bpe):
    plan = planned(task, bpe)
    for items in ([], [0, 5], [-1]):
        with pytest.raises(ValueError, match="items"):
            run_plan(plan, network(plan), items=items)


def test_rows_are_float32_unless_allocated_otherwise(task, bpe, tmp_path):
    plan = planned(task, bpe)
    assert run_plan(plan, network(plan)).dtype == np.float32

    def mapped(shape):
        return np.lib.format.open_memmap(tmp_path / "rows.npy", "w+", np.float32, shape)

    rows = run_plan(plan, network(plan), allocate=mapped)
    rows.flush()
    assert (np.load(tmp_path / "rows.npy") == run_plan(plan, network(plan))).all()


@pytest.mark.parametrize("max_length", [22, 23, 32, 33, 48, 49])
@pytest.mark.parametrize("shots", [None, SHOTS], ids=["zero", "shots"])
def test_no_length_exceeds_the_models(task, bpe, wordpiece, max_length, shots):
    # The networks refuse a position or a cache slot beyond max_length.
    dataset = PromptDataset(
        tuple(InputExample(str(n), "good " * n, "positive") for n in (1, 3, 15, 16, 17, 60))
    )
    short = None if shots is None else replace(shots, instruction="", delimiter="\n")
    for tokenizer in (bpe, wordpiece):
        words = {"negative": ["bad", "bad film"], "positive": ["good film great"]}
        plan = planned(task, tokenizer, words, dataset=dataset, shots=short, max_length=max_length)
        both(plan)
        assert plan.truncated
        longest = max(len(plan.prefix) + int(batch.lengths.max()) for batch in plan.batches)
        behind = max((len(c.ids) for c in plan.continuations), default=0)
        assert longest + behind == max_length


def test_the_prefix_is_computed_once(task, bpe):
    plan = planned(task, bpe, "few", shots=SHOTS, batch_size=1)
    _, fast, _ = both(plan)
    fed = sum(batch.input_ids.size for batch in plan.batches)
    longest = max(len(c.ids) for c in plan.continuations)
    behind = len(plan) * len(plan.continuations) * longest
    assert fast.tokens == len(plan.prefix) + fed + behind


def text_before(example, shots):
    """The prompt as one text, up to the answer."""
    parts = [f"{shots.instruction}{shots.delimiter}"] if shots.instruction else []
    words = {"negative": "bad", "positive": "bad film"}
    parts += [f"{s.text} It was {words[s.label]}{shots.delimiter}" for s in shots.examples]
    return "".join(parts) + f"{' '.join(example.text.split())} It was"


@pytest.mark.parametrize("words", ["one", "beginnings"])
@pytest.mark.parametrize("shots", [0, 2])
def test_a_model_of_any_width_is_fed_no_more_than_the_longest_prompt(
    task, bpe, wordpiece, words, shots
):
    for tokenizer in (bpe, wordpiece):
        plan = planned(task, tokenizer, words, shots=SHOTS if shots else None, batch_size=2)
        usual, exact = network(plan), network(plan)
        exact.any_width = True
        rows = run_plan(plan, usual, allocate=float64)
        equal(run_plan(plan, exact, allocate=float64), rows)
        saved = sum(b.lengths.size * (b.input_ids.shape[1] - b.lengths.max()) for b in plan.batches)
        assert saved > 0
        assert usual.tokens - exact.tokens == saved


@pytest.mark.parametrize("shots", [Shots(), SHOTS], ids=["zero", "shots"])
@pytest.mark.parametrize("normalize", ["none", "tokens", "characters"])
def test_words_follow_the_chain_rule(task, bpe, shots, normalize):
    plan = planned(task, bpe, "few", shots=shots, rules={"normalize": normalize})
    model = network(plan)
    scores = score_rows(plan, both(plan)[0])
    for item, example in enumerate(DATA):
        prompt = bpe.encode(text_before(example, shots))
        for place, word in enumerate(["bad", "badly", "bad film", "good films"]):
            tokens = bpe.encode(f" {word}")
            whole = [*prompt, *tokens]
            expected = sum(
                model.log_probability(whole, len(prompt) - 1 + t, token)
                for t, token in enumerate(tokens)
            )
            divisor = {"none": 1, "tokens": len(tokens), "characters": len(word)}[normalize]
            assert scores.word_scores[item, place] == pytest.approx(expected / divisor, rel=1e-10)


def masked_prompt(wordpiece, text, answer):
    ids = [wordpiece.cls_id, *wordpiece.encode("It was"), *answer]
    return [*ids, *wordpiece.encode(f". {text}"), wordpiece.sep_id]


@pytest.mark.parametrize("masks", ["joint", "pseudo"])
def test_masked_words_follow_the_definition(task, wordpiece, masks):
    plan = planned(task, wordpiece, "few", rules={"masks": masks})
    model = network(plan)
    scores = score_rows(plan, both(plan)[0])
    for item, example in enumerate(DATA):
        for place, word in enumerate(["bad", "badly", "bad film", "good films"]):
            tokens = wordpiece.encode(word)
            expected = 0.0
            for t, token in enumerate(tokens):
                # Joint: all are masked. Pseudo: this one is, the others stand there.
                hidden = [
                    wordpiece.mask_id if masks == "joint" or k == t else other
                    for k, other in enumerate(tokens)
                ]
                prompt = masked_prompt(wordpiece, example.text, hidden)
                expected += model.log_probability(prompt, 3 + t, token)
            assert scores.word_scores[item, place] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("masks", ["joint", "pseudo"])
def test_several_answers_follow_the_definition(task, wordpiece, masks):
    plan = planned(task, wordpiece, TWO, rules={"masks": masks}, template="[Z] it was [Z] . [X]")
    model = network(plan)
    scores = score_rows(plan, both(plan)[0])
    for place, (first, second) in enumerate([w for words in TWO.values() for w in words]):
        parts = [wordpiece.encode(first), wordpiece.encode(second)]
        flat = [*parts[0], *parts[1]]
        for item, example in enumerate(DATA):
            expected = 0.0
            for t, token in enumerate(flat):
                hidden = [
                    wordpiece.mask_id if masks == "joint" or k == t else other
                    for k, other in enumerate(flat)
                ]
                left, right = hidden[: len(parts[0])], hidden[len(parts[0]) :]
                middle = wordpiece.encode("it was")
                prompt = [
                    wordpiece.cls_id, *left, *middle, *right,
                    *wordpiece.encode(f". {example.text}"), wordpiece.sep_id,
                ]  # fmt: skip
                at = 1 + t + (len(middle) if t >= len(left) else 0)
                expected += model.log_probability(prompt, at, token)
            assert scores.word_scores[item, place] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("text", ["N/A", ""])
def test_pmi_takes_out_what_a_prompt_without_content_says(task, bpe, text):
    made = replace(
        task, verbalizer=Verbalizer(WORDS["few"]), calibration=Calibration("pmi", (text,))
    )
    plan = make_plan(made, bpe, architecture_shape="prefix", max_length=96, dataset=DATA)
    model = network(plan)
    scores = score_rows(plan, both(plan)[0])
    before = bpe.encode(f"{text} It was")
    for place, word in enumerate(["bad", "badly", "bad film", "good films"]):
        tokens = bpe.encode(f" {word}")

        def total(prompt, tokens=tokens):
            whole = [*prompt, *tokens]
            return sum(
                model.log_probability(whole, len(prompt) - 1 + t, token)
                for t, token in enumerate(tokens)
            )

        expected = total(bpe.encode(f"{TEXTS[0]} It was")) - total(before)
        assert scores.word_scores[0, place] == pytest.approx(expected, rel=1e-9, abs=1e-9)


ANY_WORD = st.lists(st.sampled_from(["bad", "good", "film", "badly", "so"]), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(
    words=st.lists(ANY_WORD.map(" ".join), min_size=2, max_size=6, unique=True),
    texts=st.lists(st.text("good film.", min_size=1).filter(str.strip), min_size=1, max_size=5),
    shots=st.lists(st.text("bad sport", min_size=1).filter(str.strip), max_size=3),
    masks=st.sampled_from(["joint", "pseudo"]),
    batch_size=st.integers(1, 4),
    room=st.integers(0, 40),
)
def test_any_plan(task, bpe, wordpiece, words, texts, shots, masks, batch_size, room):
    """Plans are made whenever there is room, fit the model, and run the same either way."""
    verbalizer = {"negative": words[:1], "positive": words[1:]}
    dataset = PromptDataset(
        tuple(InputExample(f"q{i}", text, "positive") for i, text in enumerate(texts))
    )
    made = tuple(InputExample(f"s{i}", f"s {text}", "negative") for i, text in enumerate(shots))
    for tokenizer in (bpe, wordpiece):
        one = tokenizer.encode(f" {words[0]}")
        longest = max(len(tokenizer.encode(f" {word}")) for word in words)
        # Template, ends, longest answer, demonstrations with a token of text each, and one of text.
        least = 6 + longest + len(shots) * (len(one) + 6)
        plan = planned(
            task, tokenizer, verbalizer, "pmi", rules={"masks": masks}, dataset=dataset,
            shots=Shots(made), batch_size=batch_size, max_length=least + room,
        )  # fmt: skip
        both(plan)


@pytest.mark.parametrize("wrong", ["past", "mask", "positions", "select"])
def test_the_network_sees_what_goes_wrong(task, bpe, wrong):
    """The equalities above can fail: each of these faults moves a row."""

    class Wrong(Network):
        def answer(self, inputs, positions, past=None):
            inputs = {name: array.copy() for name, array in inputs.items()}
            if past is not None and wrong == "positions" and past.hidden.shape[1]:
                inputs["position_ids"] -= 1
            if past is not None and wrong == "past" and past.hidden.shape[1]:
                past.hidden = np.roll(past.hidden, 1, axis=1)
                past.hidden[:, 0] = 0
            if wrong == "mask":
                inputs["attention_mask"][:, 0] = 0
            return super().answer(inputs, positions, past)

        def select(self, cache, index, room):
            shifted = index[::-1].copy() if wrong == "select" else index
            return super().select(cache, shifted, room)

    plan = planned(task, bpe, "few", shots=SHOTS)
    model = Wrong(plan.tokenizer_size + 3, plan.max_length, plan.pad_id)
    rows = run_plan(plan, model, allocate=float64)
    right, _, _ = both(plan)
    assert not np.allclose(rows, right, rtol=1e-6, equal_nan=True)
