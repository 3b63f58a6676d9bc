from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindport.migrate.errors import CheckpointError, DestinationError, MindportError
from mindport.prompts import (
    Calibration,
    InputExample,
    Plan,
    PromptDataset,
    Shots,
    Task,
    Template,
    Verbalizer,
    Word,
    make_plan,
)
from mindport.prompts.encode import EncodedPrompt
from mindport.prompts.planning import common_prefix, read_continued, read_masked
from mindport.prompts.task import DataFile

FAMILIES = ("prefix", "cloze")


@pytest.fixture
def tokenizers(bpe, wordpiece):
    return {"prefix": bpe, "cloze": wordpiece}


def prompt(plan, item):
    """Return the real ids of an item's only prompt and the position of its only answer."""
    found = []
    for batch in plan.batches:
        for place in np.flatnonzero(batch.items == item):
            own = batch.input_ids[place, : batch.lengths[place]]
            (position,) = batch.positions[place]
            found.append(([*plan.prefix.tolist(), *own.tolist()], int(position) + len(plan.prefix)))
    (only,) = found
    return only


def dataset(*texts):
    return PromptDataset(tuple(InputExample(str(i), t, "positive") for i, t in enumerate(texts)))


def test_prefix(task, bpe):
    plan = make_plan(task, bpe, architecture_shape="prefix", max_length=64)
    ids, row = prompt(plan, 1)
    assert bpe.pieces(ids) == ["bad", " film", " It", " was"]
    assert row == 3
    assert [(word.text, word.label, word.divisor) for word in plan.words] == [
        ("bad", 0, 1.0),
        ("terrible", 0, 1.0),
        ("good", 1, 1.0),
        ("great", 1, 1.0),
    ]
    (rows, tokens) = zip(*(step for word in plan.words for step in word.steps), strict=True)
    assert rows == (0, 0, 0, 0)
    assert bpe.pieces(tokens) == [" bad", " terrible", " good", " great"]
    assert plan.columns(0) == tuple(sorted(tokens))
    assert (plan.rows_per_item, plan.shared_rows, plan.items) == (1, {0}, len(plan))


def test_cloze(task, wordpiece):
    plan = make_plan(task, wordpiece, architecture_shape="cloze", max_length=64)
    ids, row = prompt(plan, 1)
    assert wordpiece.pieces(ids) == ["[CLS]", "it", "was", "[MASK]", ".", "bad", "film", "[SEP]"]
    assert row == 3
    assert ids[row] == wordpiece.mask_id


def test_the_whole_prompt_at_once_gives_the_same_tokens(task, bpe):
    # Where a space stands at every join nothing can merge across it.
    plan = make_plan(task, bpe, architecture_shape="prefix", max_length=64)
    template = task.templates["prefix"]
    for item, example in enumerate(task.read_data()):
        whole = template.render(example).removesuffix(" [Z]")
        assert prompt(plan, item)[0] == bpe.encode(whole)


@pytest.mark.parametrize("shape", FAMILIES)
def test_a_special_token_in_the_data_is_text(task, tokenizers, shape):
    tokenizer = tokenizers[shape]
    data = dataset("a [MASK] b [SEP]", "<|endoftext|>")
    plan = make_plan(task, tokenizer, architecture_shape=shape, max_length=64, dataset=data)
    for item in range(2):
        ids, row = prompt(plan, item)
        assert ids.count(tokenizer.mask_id) == (shape == "cloze")
        assert ids.count(tokenizer.sep_id) == (shape == "cloze")
        assert shape == "prefix" or ids[row] == tokenizer.mask_id
        assert tokenizer.pad_id not in ids


@pytest.mark.parametrize("shape", FAMILIES)
def test_only_the_end_of_the_text_is_cut(task, tokenizers, shape):
    tokenizer = tokenizers[shape]
    text = "the film was good " * 20
    long, short = (
        make_plan(
            task, tokenizer, architecture_shape=shape, max_length=n, dataset=dataset(text, "bad")
        )
        for n in (500, 12)
    )
    assert (long.truncated, short.truncated, short.truncated_items) == (0, 1, (0,))
    whole, row = prompt(long, 0)
    ids, cut_row = prompt(short, 0)
    assert len(ids) == 12
    assert prompt(short, 1) == prompt(long, 1)
    if shape == "prefix":
        assert ids == whole[:10] + whole[-2:]
        assert cut_row == 11
    else:
        assert ids == [*whole[:11], whole[-1]]
        assert cut_row == row == 3


@pytest.mark.parametrize("masks", ["joint", "pseudo"])
def test_all_words_are_asked_behind_the_same_text(task, wordpiece, masks):
    verbalizer = Verbalizer({"a": ["bad", "bad film"], "b": ["good sport film"]}, masks=masks)
    made = replace(task, verbalizer=verbalizer)
    data = PromptDataset((InputExample("1", "great " * 50, "a"),))
    plan = make_plan(made, wordpiece, architecture_shape="cloze", max_length=20, dataset=data)
    prompts = [
        batch.input_ids[place, : batch.lengths[place]].tolist()
        for batch in plan.batches
        for place in range(len(batch.items))
    ]
    assert len(prompts) == (3 if masks == "joint" else 1 + 2 + 3)
    (great,) = wordpiece.encode("great")
    assert {ids.count(great) for ids in prompts} == {20 - 8}  # CLS it was, three tokens, . SEP
    assert {len(ids) for ids in prompts} == {18, 19, 20}
    assert plan.truncated_items == (0,)


@pytest.mark.parametrize("max_length", [1, 2])
def test_no_room_for_the_words(task, bpe, max_length):
    words = {"negative": ["bad"], "positive": ["good was film"]}
    made = replace(task, verbalizer=Verbalizer(words))
    with pytest.raises(MindportError, match=f"needs 2 tokens behind .* {max_length} in all"):
        make_plan(made, bpe, architecture_shape="prefix", max_length=max_length)


def test_no_room_for_the_text(task, bpe, wordpiece):
    for shape, tokenizer, least in (("prefix", bpe, 3), ("cloze", wordpiece, 7)):
        make_plan(task, tokenizer, architecture_shape=shape, max_length=least)
        with pytest.raises(MindportError, match=f"takes {least - 1} of {least - 1} tokens"):
            make_plan(task, tokenizer, architecture_shape=shape, max_length=least - 1)


def test_batches(task, bpe):
    texts = ["good " * n for n in (3, 40, 1, 17, 17)]
    plan = make_plan(
        task, bpe, architecture_shape="prefix", max_length=64, batch_size=2,
        dataset=dataset(*texts),
    )  # fmt: skip
    assert [batch.items.tolist() for batch in plan.batches] == [[1, 3], [4, 0], [2]]
    assert [batch.input_ids.shape for batch in plan.batches] == [(2, 48), (2, 32), (1, 16)]
    for batch in plan.batches:
        size, width = batch.input_ids.shape
        assert batch.positions.shape == (size, 1)
        assert batch.lengths.shape == batch.items.shape == batch.first_rows.shape == (size,)
        for field in fields(batch):
            assert getattr(batch, field.name).dtype == np.int64
        assert batch.positions[:, 0].tolist() == (batch.lengths - 1).tolist()
        padding = np.arange(width) >= batch.lengths[:, None]  # it is on the right
        assert (batch.input_ids[padding] == bpe.pad_id).all()
        assert (batch.input_ids[~padding] != bpe.pad_id).all()
        assert not batch.first_rows.any()


def test_widths_stay_within_the_models_positions(task, bpe):
    data = dataset("good " * 30)
    plan = make_plan(task, bpe, architecture_shape="prefix", max_length=20, dataset=data)
    assert plan.batches[0].input_ids.shape == (1, 20)


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.text(alphabet="goodfilm [Z]好\n", min_size=1).filter(str.strip), min_size=1),
    batch_size=st.integers(1, 5),
    max_length=st.integers(8, 40),
)
def test_every_item_is_there_once(task, bpe, texts, batch_size, max_length):
    plan = make_plan(
        task, bpe, architecture_shape="prefix", max_length=max_length, batch_size=batch_size,
        dataset=dataset(*texts),
    )  # fmt: skip
    items = np.concatenate([batch.items for batch in plan.batches])
    assert sorted(items) == list(range(len(texts)))
    tail = bpe.encode(" It was")
    for item, text in enumerate(texts):
        ids, row = prompt(plan, item)
        assert ids[-2:] == tail
        assert row == len(ids) - 1 < max_length
        own = bpe.encode(" ".join(text.split()))
        assert ids[:-2] == own[: max_length - 2]
        assert (item in plan.truncated_items) == (len(own) > max_length - 2)


def test_limit_keeps_the_labels_balanced(task, bpe):
    plan = make_plan(task, bpe, architecture_shape="prefix", max_length=64, limit=2)
    assert plan.ids == ("a", "b")
    assert plan.label_indices == (1, 0)
    assert plan.duplicates == 0
    assert make_plan(task, bpe, architecture_shape="prefix", max_length=64).duplicates == 1


@pytest.mark.parametrize("option", ["limit", "batch_size", "max_length"])
def test_numbers_below_one(task, bpe, option):
    options = {"max_length": 64, option: 0}
    with pytest.raises(MindportError, match=f"{option} must be 1 or more"):
        make_plan(task, bpe, architecture_shape="prefix", **options)


def test_shapes_that_do_not_go(task, bpe, wordpiece):
    with pytest.raises(MindportError, match="vocabulary lacks: mask, cls, sep"):
        make_plan(task, bpe, architecture_shape="cloze", max_length=64)
    only = replace(task, templates={"cloze": task.templates["cloze"]})
    with pytest.raises(MindportError, match="has no prefix template"):
        make_plan(only, bpe, architecture_shape="prefix", max_length=64)
    swapped = replace(task, templates={"prefix": Template("[X] [Z] .")})
    with pytest.raises(MindportError, match="never reads what follows"):
        make_plan(swapped, bpe, architecture_shape="prefix", max_length=64)
    # A cloze model may well read its answer at the end.
    ending = replace(task, templates={"cloze": Template("[X] It was [Z]")})
    plan = make_plan(ending, wordpiece, architecture_shape="cloze", max_length=64)
    assert wordpiece.pieces(prompt(plan, 3)[0]) == [
        "[CLS]", "terrible", "it", "was", "[MASK]", "[SEP]"
    ]  # fmt: skip


def test_data_that_does_not_go(task, bpe, wordpiece):
    other = PromptDataset((InputExample("a", "x", "neutral"),))
    with pytest.raises(MindportError, match="'neutral' of example 'a' has no words"):
        make_plan(task, bpe, architecture_shape="prefix", max_length=64, dataset=other)
    # BERT's cleaning drops control characters; nothing is left of this text.
    with pytest.raises(MindportError, match="example '0' has no tokens"):
        make_plan(
            task, wordpiece, architecture_shape="cloze", max_length=64, dataset=dataset("\u200b")
        )


def test_fields_of_the_data(task, bpe):
    template = Template("[title]: [X] It was [Z]")
    data = PromptDataset((InputExample("a", "good", "positive", {"title": "the film"}),))
    made = replace(task, templates={"prefix": template})
    plan = make_plan(made, bpe, architecture_shape="prefix", max_length=64, dataset=data)
    assert "".join(bpe.pieces(prompt(plan, 0)[0])) == "the film: good It was"


def test_the_digest_covers_what_is_asked(task, bpe, plan):
    again = make_plan(task, bpe, architecture_shape="prefix", max_length=64, batch_size=2)
    assert again.digest == plan.digest
    batch = plan.batches[0]
    ids = batch.input_ids.copy()
    ids[0, 0] += 1
    changes = [
        {"texts": ("x", *plan.texts[1:])},
        {"words": plan.words[::-1]},
        {"words": (replace(plan.words[0], divisor=2.0), *plan.words[1:])},
        {"tokenizer_hash": "0"},
        {"aggregate": "max"},
        {"batches": (replace(batch, input_ids=ids), *plan.batches[1:])},
        {"batches": plan.batches[::-1]},
    ]
    digests = {replace(plan, **change).digest for change in changes}
    assert len(digests | {plan.digest}) == len(changes) + 1


def test_save_and_load(plan, tmp_path):
    folder = tmp_path / "deep" / "plan"
    plan.save(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["plan.json", "plan.safetensors"]
    assert [path.name for path in folder.parent.iterdir()] == ["plan"]
    loaded = Plan.load(folder)
    assert loaded.digest == plan.digest
    assert loaded.words == plan.words
    assert [word.text for word in loaded.words] == ["bad", "terrible", "good", "great"]
    for a, b in zip(loaded.batches, plan.batches, strict=True):
        for field in fields(b):
            assert (getattr(a, field.name) == getattr(b, field.name)).all()
            assert getattr(a, field.name).flags.writeable
    with pytest.raises(DestinationError, match="exists already"):
        plan.save(folder)


def edit_json(change):
    def damage(folder):
        content = json.loads((folder / "plan.json").read_text())
        change(content)
        (folder / "plan.json").write_text(json.dumps(content))

    return damage


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "plan.json").unlink(), "no prompt plan"),
        (lambda f: (f / "plan.safetensors").unlink(), "no prompt plan"),
        (lambda f: (f / "plan.json").write_text("{"), "no prompt plan"),
        (lambda f: (f / "plan.json").write_text("[]"), "or is none"),
        (lambda f: (f / "plan.safetensors").write_bytes(b"\x80\x04pickle"), "no prompt plan"),
        (edit_json(lambda c: c.update(schema=1)), "another version"),
        (edit_json(lambda c: c.pop("labels")), "lacks a part"),
        (edit_json(lambda c: c.pop("digest")), "lacks a part"),
        (edit_json(lambda c: c.update(surprise=1)), "lacks a part"),
        (edit_json(lambda c: c.update(batches=9)), "lacks a part"),
        (edit_json(lambda c: c.update(batches="x")), "lacks a part"),
        (edit_json(lambda c: c.update(batches=1)), "digest does not match"),
        (edit_json(lambda c: c["texts"].reverse()), "digest does not match"),
        (edit_json(lambda c: c["words"].reverse()), "digest does not match"),
        (edit_json(lambda c: c["words"][0].update(divisor=2.0)), "digest does not match"),
        (edit_json(lambda c: c["words"][0].pop("steps")), "lacks a part"),
        (edit_json(lambda c: c.update(words="abc")), "lacks a part"),
        (edit_json(lambda c: c.update(continuations=[1])), "lacks a part"),
    ],
)
def test_damaged_plans(plan, tmp_path, damage, said):
    folder = tmp_path / "plan"
    plan.save(folder)
    damage(folder)
    with pytest.raises(CheckpointError, match=said):
        Plan.load(folder)


def test_a_task_can_be_made_without_a_file(bpe, task, tmp_path):
    made = Task(
        "mine", 1, "d", DataFile(tmp_path / "none.jsonl"), task.verbalizer,
        {"prefix": Template("[X] It was [Z]")}, 0.5,
    )  # fmt: skip
    data = dataset("good")
    plan = make_plan(made, bpe, architecture_shape="prefix", max_length=9, dataset=data)
    assert len(plan) == 1


TOKEN_WORDS = st.lists(
    st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple), min_size=1, max_size=8,
    unique=True,
)  # fmt: skip


@given(TOKEN_WORDS)
def test_every_token_is_read_behind_those_before_it(words):
    reading = read_continued([(word,) for word in words])
    assert (reading.fills, reading.first_rows) == ((((None,),),), (0,))
    behind = {0: ()}  # what each row follows
    for continuation in reading.continuations:
        assert len(continuation.ids) == len(continuation.rows) > 0
        for end, row in enumerate(continuation.rows, 1):
            if row >= 0:
                assert row not in behind  # computed once
                behind[row] = continuation.ids[:end]
        assert any(row >= 0 for row in continuation.rows)
    assert sorted(behind) == list(range(reading.rows))
    for word, steps in zip(words, reading.steps, strict=True):
        assert [(behind[row], token) for row, token in steps] == [
            (word[:end], token) for end, token in enumerate(word)
        ]
    # Nothing is computed that no word needs, nor a beginning twice.
    needed = {word[:end] for word in words for end in range(len(word))} | {()}
    assert set(behind.values()) == needed
    leaves = [c.ids for c in reading.continuations]
    assert not any(a != b and b[: len(a)] == a for a in leaves for b in leaves)
    assert len(set(leaves)) == len(leaves)


@given(st.data())
def test_every_mask_is_read_where_it_stands(data):
    answers = data.draw(st.integers(1, 2))
    part = st.lists(st.integers(1, 2), min_size=1, max_size=3).map(tuple)
    words = data.draw(st.lists(st.tuples(*[part] * answers), min_size=1, max_size=6, unique=True))
    for pseudo in (False, True):
        reading = read_masked(words, pseudo=pseudo)
        assert reading.continuations == ()
        assert len(set(reading.fills)) == len(reading.fills)
        place = {}  # each row's fill, and which of its tokens it is
        for fill, first in zip(reading.fills, reading.first_rows, strict=True):
            flat = [token for part in fill for token in part]
            masks = [at for at, token in enumerate(flat) if token is None]
            for k, at in enumerate(masks):
                assert first + k not in place
                place[first + k] = (fill, at)
        assert sorted(place) == list(range(reading.rows))
        used = set()
        for word, steps in zip(words, reading.steps, strict=True):
            flat = [token for part in word for token in part]
            assert [token for _, token in steps] == flat
            for at, (row, _) in enumerate(steps):
                fill, where = place[row]
                assert where == at
                assert [len(part) for part in fill] == [len(part) for part in word]
                seen = [token for part in fill for token in part]
                others = [t for k, t in enumerate(flat) if k != at]
                del seen[at]
                assert seen == (others if pseudo else [None] * len(others))
                used.add(row)
        assert used == set(place)


@given(
    st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=14).map(tuple), min_size=1),
    st.lists(st.integers(0, 1), max_size=12).map(tuple),
)
def test_the_prefix_leaves_every_prompt_a_token(endings, beginning):
    prompts = [EncodedPrompt(beginning + ids, (0,), truncated=False) for ids in endings]
    prefix = common_prefix(prompts)
    assert all(p.ids[: len(prefix)] == prefix and len(p.ids) > len(prefix) for p in prompts)
    ids = [p.ids for p in prompts]
    longest = max(n for n in range(min(map(len, ids))) if all(one[:n] == ids[0][:n] for one in ids))
    assert len(prefix) == (longest if longest >= 8 and len(ids) > 1 else 0)


@pytest.mark.parametrize("shape", FAMILIES)
def test_save_and_load_with_everything_on(task, tokenizers, tmp_path, shape):
    made = replace(
        task,
        verbalizer=Verbalizer(
            {"negative": ["bad", Word("badly", space=False)], "positive": ["good film", "good"]},
            aggregate="sum_prob",
            normalize="tokens",
            masks="pseudo",
        ),
        calibration=Calibration("contextual", ("N/A", "", "\u2028 好")),
    )
    if shape == "cloze":
        words = {"negative": [["bad", "bad film"]], "positive": [["good", "great"]]}
        made = replace(
            made,
            verbalizer=Verbalizer(words, masks="pseudo", normalize="bytes"),
            templates={"cloze": Template("[Z] it was [X] [Z]")},
        )
        made = replace(made, calibration=Calibration("domain", ("the sport",)))
    shots = Shots(
        (
            InputExample("s1", "the sport was bad, really", "negative"),
            InputExample("s2", "great  film", "positive"),
        ),
        "\n\n",
        "Topic: film.",
    )
    plan = make_plan(
        made, tokenizers[shape], architecture_shape=shape, max_length=90, shots=shots, batch_size=3
    )
    plan.save(tmp_path / "plan")
    loaded = Plan.load(tmp_path / "plan")
    assert loaded.digest == plan.digest
    for field in fields(plan):
        if field.name not in ("batches", "prefix"):
            assert getattr(loaded, field.name) == getattr(plan, field.name), field.name
    assert (loaded.prefix == plan.prefix).all()
    assert len(loaded.batches) == len(plan.batches) > 1
    for a, b in zip(loaded.batches, plan.batches, strict=True):
        for field in fields(b):
            assert (getattr(a, field.name) == getattr(b, field.name)).all()
    assert (plan.items, len(plan)) == (5 + len(plan.prior_texts), 5)
    assert loaded.shared_rows == plan.shared_rows
    assert plan.prefix.size > 0 or shape == "cloze"
    divisors = {"prefix": [1, 5, 2, 1], "cloze": [12, 10]}[shape]
    if shape == "prefix":
        divisors[1] = len(tokenizers[shape].encode("badly"))
    assert [word.divisor for word in loaded.words] == divisors


def test_calibration_inputs_are_items_like_any_other(task, bpe, wordpiece):
    made = replace(task, calibration=Calibration("contextual"))
    for shape, tokenizer in (("prefix", bpe), ("cloze", wordpiece)):
        plan = make_plan(made, tokenizer, architecture_shape=shape, max_length=64)
        assert plan.prior_texts == ("N/A", "", "[MASK]")
        found = ["".join(tokenizer.pieces(prompt(plan, item)[0])) for item in (5, 6, 7)]
        if shape == "prefix":
            assert found == ["N/A It was", " It was", "[MASK] It was"]
        else:
            assert found[1] == "[CLS]itwas[MASK].[SEP]"
            assert found[2] == "[CLS]itwas[MASK].[mask][SEP]"
    fielded = replace(made, templates={"prefix": Template("[id]: [X] It was [Z]")})
    plan = make_plan(fielded, bpe, architecture_shape="prefix", max_length=64)
    found = ["".join(bpe.pieces(prompt(plan, item)[0])) for item in (0, 5, 6)]
    assert found[:2] == ["a: the film was good It was", "N/A: N/A It was"]
    assert found[2] == ":  It was"


def test_duplicates_are_counted_and_all_answered(task, bpe):
    plan = make_plan(
        task, bpe, architecture_shape="prefix", max_length=64, dataset=dataset(*["bad film"] * 4)
    )
    assert plan.duplicates == 3
    assert sorted(np.concatenate([batch.items for batch in plan.batches])) == [0, 1, 2, 3]
    assert len({tuple(prompt(plan, item)[0]) for item in range(4)}) == 1
