from __future__ import annotations

import pytest

from mindport.migrate.errors import MindportError
from mindport.prompts import Verbalizer, Word

TWO = {"negative": ["bad"], "positive": ["good"]}


def pieces(tokenizer, ids):
    return [[tokenizer.pieces(part) for part in word] for word in ids]


def test_labels_keep_their_order():
    verbalizer = Verbalizer({"positive": ["good", "great"], "negative": ["bad"]})
    assert verbalizer.labels == ("positive", "negative")
    assert verbalizer.label_words["positive"] == ((Word("good"),), (Word("great"),))
    assert verbalizer.answers == (
        (0, (Word("good"),)),
        (0, (Word("great"),)),
        (1, (Word("bad"),)),
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"a": ["x"]}, "two labels or more"),
        ({"a": ["x"], "b": []}, "'b' has no words"),
        ({"a": ["x", "x"], "b": ["y"]}, "'a' has the word 'x' twice"),
        ({"a": ["x"], "b": ["x"]}, "'x' stands for 'a' and 'b'"),
        ({"a": [["x", "y"]], "b": [("x", "y")]}, r"'x' \+ 'y' stands for 'a' and 'b'"),
        ({"a": [[]], "b": ["y"]}, "A word of label 'a' has no parts"),
        ({"a": "bad", "b": ["x"]}, "must be a list"),
        ({"a": Word("bad"), "b": ["x"]}, "must be a list"),
        ({"a": [True], "b": ["x"]}, "put it in quotes"),
        ({"a": [["x", True]], "b": ["x"]}, "put it in quotes"),
        ({"a": [{"text": "x"}], "b": ["x"]}, "must be text"),
        ({True: ["x"], False: ["y"]}, "A label must be text"),
        ({"a": [" x"], "b": ["y"]}, "no space around it"),
        ({"a": [Word("x ")], "b": ["y"]}, "no space around it"),
        ({"a": [""], "b": ["y"]}, "no space around it"),
    ],
)
def test_bad_words(words, said):
    with pytest.raises(MindportError, match=said):
        Verbalizer(words)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"aggregate": "mean_logs"}, "Unknown aggregate 'mean_logs'. Did you mean 'mean_log'"),
        ({"normalize": "token"}, "Unknown normalize 'token'. Did you mean 'tokens'"),
        ({"masks": "pseudos"}, "Unknown masks 'pseudos'. Did you mean 'pseudo'"),
    ],
)
def test_unknown_rules(rule, said):
    with pytest.raises(MindportError, match=said):
        Verbalizer(TWO, **rule)


def test_the_space_before_the_word_decides_in_byte_bpe(bpe, wordpiece):
    verbalizer = Verbalizer(TWO)
    after, bare = (verbalizer.token_ids(bpe, after_space=[space]) for space in (True, False))
    assert pieces(bpe, after) == [[[" bad"]], [[" good"]]]
    assert pieces(bpe, bare) == [[["bad"]], [["good"]]]
    assert verbalizer.token_ids(wordpiece, after_space=[True]) == verbalizer.token_ids(
        wordpiece, after_space=[False]
    )


@pytest.mark.parametrize("after_space", [True, False])
def test_a_word_may_bring_its_own_space_or_none(bpe, after_space):
    verbalizer = Verbalizer({"a": [Word("bad", space=False)], "b": [Word("good", space=True)]})
    ids = verbalizer.token_ids(bpe, after_space=[after_space])
    assert pieces(bpe, ids) == [[["bad"]], [[" good"]]]


def test_words_of_several_tokens(bpe, wordpiece):
    verbalizer = Verbalizer({"a": ["badly", "good film"], "b": ["bad", "好"]})
    ids = verbalizer.token_ids(bpe, after_space=[True])
    assert pieces(bpe, ids)[:3] == [[[" bad", "l", "y"]], [[" good", " film"]], [[" bad"]]]
    assert len(ids[3][0]) == 4  # a space and three bytes
    words = Verbalizer({"a": ["badly", "good film"], "b": ["bad"]})
    ids = words.token_ids(wordpiece, after_space=[True])
    assert pieces(wordpiece, ids) == [[["bad", "##l", "##y"]], [["good", "film"]], [["bad"]]]


def test_one_part_for_each_answer(bpe):
    verbalizer = Verbalizer({"a": [["bad", "film"]], "b": [["good", Word("film", space=False)]]})
    ids = verbalizer.token_ids(bpe, after_space=[False, True])
    assert pieces(bpe, ids[:1]) == [[["bad"], [" film"]]]
    assert ["".join(part) for part in pieces(bpe, ids)[1]] == ["good", "film"]
    with pytest.raises(MindportError) as caught:
        verbalizer.token_ids(bpe, after_space=[True])
    assert "label 'a': 'bad' + 'film' has 2 parts, but the template has 1 [Z]." in str(caught.value)
    assert "label 'b': 'good' + 'film' has 2 parts" in str(caught.value)
    with pytest.raises(MindportError, match=r"'bad' has 1 parts, but the template has 2 \[Z\]"):
        Verbalizer(TWO).token_ids(bpe, after_space=[True, True])


def test_every_word_that_does_not_fit_is_listed(wordpiece):
    verbalizer = Verbalizer({"a": ["好", "Good"], "b": ["坏", "good"], "c": ["film"]})
    with pytest.raises(MindportError) as caught:
        verbalizer.token_ids(wordpiece, after_space=[True])
    assert "label 'a': The word '好' is unknown to this vocabulary." in str(caught.value)
    assert "label 'b': The word '坏' is unknown to this vocabulary." in str(caught.value)
    assert "'good' of label 'b' and 'Good' of label 'a' are the same tokens ['good']" in str(
        caught.value
    )
    assert "film" not in str(caught.value)


def test_the_same_tokens_in_other_parts_are_another_word(wordpiece):
    verbalizer = Verbalizer({"a": [["good film", "bad"]], "b": [["good", "film bad"]]})
    assert len(set(verbalizer.token_ids(wordpiece, after_space=[True, True]))) == 2


def test_special_tokens_are_no_words(bpe, wordpiece):
    # Their names are text: pieces of it, never the token itself.
    ids = Verbalizer({"a": ["<|endoftext|>"], "b": ["bad"]}).token_ids(bpe, after_space=[False])
    assert 0 not in ids[0][0]
    assert "".join(bpe.pieces(ids[0][0])) == "<|endoftext|>"
    ids = Verbalizer({"a": ["[MASK]"], "b": ["bad"]}).token_ids(wordpiece, after_space=[True])
    assert wordpiece.pieces(ids[0][0]) == ["[", "mask", "]"]
