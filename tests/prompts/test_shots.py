from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindport.migrate.errors import MindportError
from mindport.prompts import (
    Calibration,
    FewShotSampler,
    InputExample,
    Plan,
    PromptDataset,
    Shots,
    Template,
    Verbalizer,
    Word,
    make_plan,
)
from mindport.prompts.encode import PromptEncoder
from mindport.prompts.task import ShotSource

POOL = PromptDataset(
    tuple(
        InputExample(f"p{i}", f"text {i}", "abc"[min(i % 5, 2)], {"title": f"t{i}"})
        for i in range(40)
    ),
    "pool.jsonl",
)
SHOTS = (
    InputExample("s1", "the sport was bad", "negative"),
    InputExample("s2", "great  film", "positive"),
)
QUESTION = InputExample("q", "the film", "positive")


def drawn(sampler, pool=POOL):
    return [example.text for example in sampler(pool)]


# The draw


def test_as_many_of_each_label():
    shots = FewShotSampler(num_examples_per_label=3)(POOL)
    assert Counter(example.label for example in shots) == {"a": 3, "b": 3, "c": 3}
    assert len({example.id for example in shots}) == 9


@pytest.mark.parametrize("total", range(1, 10))
def test_a_total_is_balanced(total):
    shots = FewShotSampler(num_examples_total=total)(POOL)
    assert len(shots) == total
    counts = Counter(example.label for example in shots)
    assert max(counts.values()) - min([counts[label] for label in "abc"]) <= 1


def test_the_seed_fixes_draw_and_order():
    samplers = [FewShotSampler(num_examples_per_label=2, seed=seed) for seed in range(20)]
    assert all(drawn(sampler) == drawn(sampler) for sampler in samplers)
    assert len({tuple(drawn(sampler)) for sampler in samplers}) > 15
    orders = {"".join(example.label for example in sampler(POOL)) for sampler in samplers}
    assert len(orders) > 5  # the labels do not stand in blocks
    firsts = {FewShotSampler(num_examples_total=1, seed=s)(POOL)[0].label for s in range(20)}
    assert firsts == {"a", "b", "c"}


@given(st.permutations(range(len(POOL))), st.integers(0, 3))
def test_the_order_of_the_file_does_not_matter(order, seed):
    sampler = FewShotSampler(num_examples_total=5, seed=seed)
    moved = PromptDataset(tuple(POOL[place] for place in order))
    assert drawn(sampler, moved) == drawn(sampler)
    # Rows without an id are numbered by their lines.
    numbered = PromptDataset(tuple(replace(e, id=str(n)) for n, e in enumerate(moved)))
    lines = PromptDataset(tuple(replace(e, id=str(n)) for n, e in enumerate(POOL)))
    assert drawn(sampler, numbered) == drawn(sampler, lines)


def test_too_few_rows():
    few = PromptDataset(POOL[:7], "few.jsonl")
    with pytest.raises(MindportError, match=r"few.jsonl: 3 demonstrations of label 'a' are asked"):
        FewShotSampler(num_examples_per_label=3)(few)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_examples_total": 2, "num_examples_per_label": 2},
        {"num_examples_total": 0},
        {"num_examples_per_label": -1},
    ],
)
def test_numbers_that_make_no_sampler(options):
    with pytest.raises(MindportError, match="one of them, from 1 up"):
        FewShotSampler(**options)


def test_a_seed_below_zero():
    with pytest.raises(MindportError, match="seed must be 0 or more, not -1"):
        FewShotSampler(num_examples_total=1, seed=-1)


def test_a_label_without_rows_is_not_balanced(task, tmp_path):
    (tmp_path / "s.jsonl").write_text('{"text": "t", "label": "negative"}\n')
    made = replace(task, shots=ShotSource(tmp_path / "s.jsonl"))
    with pytest.raises(MindportError, match=r"s.jsonl: no row has the label 'positive'"):
        made.draw_shots(FewShotSampler(num_examples_total=1))


# Their tokens


def encoder(tokenizer, text, shots, words=None, max_length=200, **options):
    shape = "prefix" if tokenizer.family == "byte-bpe" else "cloze"
    verbalizer = Verbalizer(words or {"negative": ["bad film", "bad"], "positive": ["good"]})
    return PromptEncoder(
        Template(text), verbalizer, tokenizer, shape=shape, max_length=max_length, shots=shots,
        **options,
    )  # fmt: skip


@pytest.mark.parametrize("delimiter", ["\n", "\n\n", " ", "\n ", " ### ", "\n\n\n", "\t"])
@pytest.mark.parametrize("instruction", ["", "Topic: film.", "It was"])
@pytest.mark.parametrize("template", ["[X] It was [Z]", "Topic: [X]\n\nIt: [Z]", "[X]:[Z]"])
def test_byte_bpe_reads_the_same_as_the_whole_text(bpe, delimiter, instruction, template):
    # White space stands at every join, and what follows it is a word: nothing merges across.
    shots = Shots(SHOTS, delimiter, instruction)
    made = encoder(bpe, template, shots).encode(QUESTION)
    answers = {"negative": "bad film", "positive": "good"}
    lines = [instruction] if instruction else []
    lines += [Template(template).render(s, answer=answers[s.label]) for s in SHOTS]
    whole = delimiter.join([*lines, Template(template).render(QUESTION, answer="")])
    assert "".join(bpe.pieces(made.ids)) == whole.removesuffix(" ")
    assert list(made.ids) == bpe.encode(whole.removesuffix(" "))
    assert made.rows == (len(made.ids) - 1,)


@pytest.mark.parametrize("template", ["[title]\n\n[X] It was [Z]", "On\n \n[X]\n\n[Z]"])
def test_white_space_before_a_word_is_read_as_in_the_whole_text(bpe, template):
    example = replace(QUESTION, meta={"title": "good"})
    ids = encoder(bpe, template, Shots()).encode(example).ids
    whole = bpe.encode(Template(template).render(example, answer="good"))
    if not template.endswith(" [Z]"):
        assert [*ids, *bpe.tokens_of_word("good", preceded_by_space=False)] == whole
    else:
        assert [*ids, *bpe.tokens_of_word("good", preceded_by_space=True)] == whole


def test_an_answer_without_space_has_none_in_the_demonstrations(bpe):
    made = encoder(bpe, "[X] is un[Z]", Shots(SHOTS)).encode(QUESTION)
    assert "".join(bpe.pieces(made.ids)) == (
        "the sport was bad is unbad film\ngreat film is ungood\nthe film is un"
    )


def test_a_words_own_space_stands_in_the_demonstrations(bpe):
    words = {"negative": [Word("bad", space=False)], "positive": [Word("good", space=True)]}
    for template in ("[X] It was [Z]", "[X] It was[Z]"):
        made = encoder(bpe, template, Shots(SHOTS), words).encode(QUESTION)
        assert "".join(bpe.pieces(made.ids)) == (
            "the sport was bad It wasbad\ngreat film It was good\nthe film It was"
        )


@pytest.mark.parametrize("delimiter", ["\n", " ", "\n\n", ".", ""])
def test_wordpiece_has_no_white_space(wordpiece, delimiter):
    shots = Shots(SHOTS, delimiter, "Topic:")
    made = encoder(wordpiece, "It was [Z] . [X]", shots).encode(QUESTION)
    dot = ["."] if delimiter == "." else []
    assert wordpiece.pieces(made.ids) == [
        "[CLS]", "topic", ":", *dot,
        "it", "was", "bad", "film", ".", "the", "sport", "was", "bad", *dot,
        "it", "was", "good", ".", "great", "film", *dot,
        "it", "was", "[MASK]", ".", "the", "film", "[SEP]",
    ]  # fmt: skip
    (row,) = made.rows
    assert made.ids[row] == wordpiece.mask_id


def test_demonstrations_with_several_answers(wordpiece):
    words = {"negative": [["bad film", "bad"]], "positive": [["good", "great"]]}
    made = encoder(wordpiece, "[Z] : [X] [Z]", Shots(SHOTS), words).encode(
        QUESTION, ((None, None), (None,))
    )
    assert wordpiece.pieces(made.ids) == [
        "[CLS]", "bad", "film", ":", "the", "sport", "was", "bad", "bad",
        "good", ":", "great", "film", "great",
        "[MASK]", "[MASK]", ":", "the", "film", "[MASK]", "[SEP]",
    ]  # fmt: skip
    assert [made.ids[row] for row in made.rows] == [wordpiece.mask_id] * 3


def test_an_instruction_alone(bpe):
    for instruction, start in (("Topic:", "Topic:\n"), ("", ""), (" \n", "")):
        made = encoder(bpe, "[X] It was [Z]", Shots((), "\n", instruction)).encode(QUESTION)
        assert "".join(bpe.pieces(made.ids)) == f"{start}the film It was"


@pytest.mark.parametrize("text", ["", "N/A", "[MASK]"])
def test_inputs_without_content_behind_demonstrations(bpe, text):
    shots = Shots(SHOTS, "\n", "Topic:")
    empty = InputExample("free", text, "")
    ids = encoder(bpe, "[X] It was [Z]", shots).encode(empty, allow_empty=True).ids
    assert "".join(bpe.pieces(ids)).endswith(f"great film It was good\n{text} It was")
    with pytest.raises(MindportError, match="The prompt of example 'free' is empty"):
        encoder(bpe, "[X] [Z]", Shots()).encode(replace(empty, text=""), allow_empty=True)


# Where they are cut


@pytest.mark.parametrize("max_length", range(22, 60, 3))
def test_only_their_texts_are_cut_to_equal_shares(bpe, wordpiece, max_length):
    long = tuple(replace(shot, text="great " * 100) for shot in SHOTS)
    question = replace(QUESTION, text="good " * 100)
    for tokenizer, template in ((bpe, "[X] It was [Z]"), (wordpiece, "It was [Z] . [X]")):
        made = encoder(tokenizer, template, Shots(long), max_length=max_length)
        prompt = made.encode(question)
        text = "".join(tokenizer.pieces(prompt.ids)).replace(" ", "")
        assert len(prompt.ids) == max_length
        assert made.shots_cut == 2
        assert prompt.truncated
        if tokenizer is bpe:
            first, second, asked = text.split("\n")
            assert asked.endswith("goodItwas")
            first, second = first.removesuffix("Itwasbadfilm"), second.removesuffix("Itwasgood")
        else:
            _, first, second, asked = text.split("itwas")
            assert asked.startswith("[MASK].good")
            first, second = first.removeprefix("badfilm."), second.removeprefix("good.")
        share = first.count("great")
        assert first == second == "great" * share
        assert 2 * share <= asked.count("good") <= 2 * share + 3
        assert share >= 1


def test_short_demonstrations_are_not_cut(bpe):
    shots = (replace(SHOTS[0], text="great " * 100), SHOTS[1])
    made = encoder(bpe, "[X] It was [Z]", Shots(shots), max_length=40)
    assert made.shots_cut == 1
    assert "\ngreat film It was good\n" in "".join(bpe.pieces(made.encode(QUESTION).ids))


def test_too_many_demonstrations(bpe, wordpiece):
    for tokenizer, template in ((bpe, "[X] It was [Z]"), (wordpiece, "It was [Z] . [X]")):
        with pytest.raises(MindportError, match=r"2 demonstrations and .* take \d+ of 14 tokens"):
            encoder(tokenizer, template, Shots(SHOTS), max_length=14)


@pytest.mark.parametrize("shape", ["prefix", "cloze"])
@pytest.mark.parametrize("max_length", range(43, 56, 2))
def test_a_questions_long_fields_find_room(task, bpe, wordpiece, shape, max_length):
    tokenizer = bpe if shape == "prefix" else wordpiece
    template = Template("[title]: [X] It was [Z]")
    made = replace(
        task, templates={shape: template}, calibration=Calibration("domain", ("film " * 9,))
    )
    titled = [replace(s, text="great " * 30, meta={"title": "film"}) for s in SHOTS]
    data = PromptDataset(
        tuple(
            InputExample(str(n), "sport " * 30, "positive", {"title": "good " * n}) for n in (1, 20)
        )
    )
    plan = make_plan(
        made, tokenizer, architecture_shape=shape, max_length=max_length, dataset=data,
        shots=Shots(tuple(titled)),
    )  # fmt: skip
    assert 1 in plan.truncated_items
    assert plan.shots_cut == 2


def test_fields_that_leave_no_room_are_named(task, bpe):
    made = replace(task, templates={"prefix": Template("[title]: [X] It was [Z]")})
    data = PromptDataset((InputExample("huge", "sport", "positive", {"title": "good " * 60}),))
    titled = tuple(replace(s, meta={"title": "film"}) for s in SHOTS)
    with pytest.raises(MindportError, match=r"question 'huge' take \d+ of 40 .*\n.*the fields"):
        make_plan(
            made, bpe, architecture_shape="prefix", max_length=40, dataset=data,
            shots=Shots(titled),
        )  # fmt: skip


def test_demonstrations_that_cannot_be(bpe, wordpiece, task, data):
    other = (InputExample("s", "x", "neutral"),)
    with pytest.raises(MindportError, match="demonstration 's' has the label 'neutral'"):
        encoder(bpe, "[X] It was [Z]", Shots(other))
    nothing = (InputExample("s", "\u200b", "negative"),)
    with pytest.raises(MindportError, match="The text of demonstration 's' has no tokens"):
        encoder(wordpiece, "It was [Z] . [X]", Shots(nothing))
    known = (InputExample("s", " the film\nwas good", "positive"),)
    with pytest.raises(MindportError, match="demonstration 's' is one of the rows that are asked"):
        make_plan(task, bpe, architecture_shape="prefix", max_length=64, shots=Shots(known))
    # A row that a limit leaves out is not asked.
    rest = (replace(data[3], id="s"),)
    plan = make_plan(
        task, bpe, architecture_shape="prefix", max_length=64, limit=2, shots=Shots(rest)
    )
    assert (plan.ids, plan.shot_ids) == (("a", "b"), ("s",))


def test_a_shared_text_with_another_field_is_another_row(task, bpe):
    made = replace(task, templates={"prefix": Template("[X] [other] It was [Z]")})
    data = PromptDataset((InputExample("a", "the film", "positive", {"other": "good", "id": "a"}),))
    shot = InputExample("s", "the film", "negative", {"other": "bad", "id": "s"})
    options = {"architecture_shape": "prefix", "max_length": 64, "dataset": data}
    make_plan(made, bpe, shots=Shots((shot,)), **options)
    same = replace(shot, meta={"other": " good", "id": "s"})
    with pytest.raises(MindportError, match="is one of the rows"):
        make_plan(made, bpe, shots=Shots((same,)), **options)


# The plan


def test_the_prefix_covers_the_demonstrations(task, bpe):
    shots = Shots(SHOTS, "\n", "Topic:")
    plan = make_plan(task, bpe, architecture_shape="prefix", max_length=96, shots=shots)
    lead = "Topic:\nthe sport was bad It was bad\ngreat film It was good\n"
    assert "".join(bpe.pieces(plan.prefix)).startswith(lead)
    assert min(int(batch.lengths.min()) for batch in plan.batches) >= 1
    assert plan.shot_ids == ("s1", "s2")
    assert plan.shot_texts == ("the sport was bad", "great film")
    assert (plan.instruction, plan.delimiter, plan.shots_cut) == ("Topic:", "\n", 0)


def test_the_digest_covers_the_demonstrations(task, bpe, tmp_path):
    def planned(shots, **changes):
        made = replace(task, **changes)
        return make_plan(made, bpe, architecture_shape="prefix", max_length=96, shots=shots)

    flipped = (replace(SHOTS[0], label="positive"), SHOTS[1])
    plans = [
        planned(Shots()),
        planned(Shots(SHOTS)),
        planned(Shots(SHOTS[::-1])),
        planned(Shots(SHOTS[:1])),
        planned(Shots(flipped)),
        planned(Shots(SHOTS, " ")),
        planned(Shots(SHOTS, "\n", "Topic:")),
        planned(Shots(SHOTS), calibration=Calibration("pmi")),
        planned(Shots(SHOTS), calibration=Calibration("contextual")),
        planned(Shots(SHOTS), calibration=Calibration("contextual", ("N/A",))),
        planned(Shots(SHOTS), calibration=Calibration("domain", ("N/A",))),
    ]
    words = task.verbalizer.label_words
    for rules in ({"aggregate": "max"}, {"normalize": "tokens"}, {"masks": "pseudo"}):
        plans.append(planned(Shots(SHOTS), verbalizer=Verbalizer(words, **rules)))
    more = {"negative": ["bad", "terrible"], "positive": ["good", "great film"]}
    plans.append(planned(Shots(SHOTS), verbalizer=Verbalizer(more)))
    assert len({plan.digest for plan in plans}) == len(plans)
    assert planned(Shots(SHOTS)).digest == plans[1].digest
    for place, plan in enumerate(plans):
        plan.save(tmp_path / str(place))
        loaded = Plan.load(tmp_path / str(place))
        assert loaded.digest == plan.digest
        assert (loaded.words, loaded.continuations) == (plan.words, plan.continuations)
        assert loaded.shot_texts == plan.shot_texts
        assert loaded.prior_texts == plan.prior_texts
        assert (loaded.prefix == plan.prefix).all()
