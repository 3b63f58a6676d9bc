from __future__ import annotations

import numpy as np
import pytest

from mindport.migrate.errors import MindportError
from mindport.prompts import Verbalizer


def test_labels_keep_their_order():
    verbalizer = Verbalizer({"positive": ["good", "great"], "negative": ["bad"]})
    assert verbalizer.labels == ("positive", "negative")
    assert verbalizer.label_words["positive"] == ("good", "great")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"a": ["x"]}, "two labels or more"),
        ({"a": ["x"], "b": []}, "'b' has no words"),
        ({"a": ["x", "x"], "b": ["y"]}, "'a' has the word 'x' twice"),
        ({"a": ["x"], "b": ["x"]}, "'x' stands for 'a' and 'b'"),
        ({"a": "bad", "b": ["x"]}, "must be a list"),
        ({"a": [True], "b": ["x"]}, "put it in quotes"),
        ({True: ["x"], False: ["y"]}, "A label must be text"),
        ({"a": [" x"], "b": ["y"]}, "no space around it"),
        ({"a": [""], "b": ["y"]}, "no space around it"),
    ],
)
def test_bad_words(words, said):
    with pytest.raises(MindportError, match=said):
        Verbalizer(words)


def test_unknown_aggregate():
    with pytest.raises(MindportError, match="Did you mean 'mean_logit'"):
        Verbalizer({"a": ["x"], "b": ["y"]}, aggregate="mean_logits")


def test_the_space_before_the_word_decides_in_byte_bpe(bpe, wordpiece):
    verbalizer = Verbalizer({"negative": ["bad"], "positive": ["good"]})
    after, bare = (verbalizer.token_ids(bpe, after_space=space) for space in (True, False))
    assert [bpe.pieces(ids) for ids in after] == [[" bad"], [" good"]]
    assert [bpe.pieces(ids) for ids in bare] == [["bad"], ["good"]]
    assert set(np.ravel(after)).isdisjoint(np.ravel(bare))
    assert verbalizer.token_ids(wordpiece, after_space=True) == verbalizer.token_ids(
        wordpiece, after_space=False
    )


def test_every_word_that_does_not_fit_is_listed(bpe, wordpiece):
    verbalizer = Verbalizer({"a": ["badly", "good"], "b": ["sports", "great"]})
    with pytest.raises(MindportError) as caught:
        verbalizer.token_ids(bpe, after_space=True)
    assert "' badly' is not one token here but 3: ' bad' + 'l' + 'y'." in str(caught.value)
    assert "' sports' is not one token here but 2: ' sport' + 's'." in str(caught.value)
    with pytest.raises(MindportError, match=r"'bad' \+ '##l'|'b' \+ '##a'|badly"):
        verbalizer.token_ids(wordpiece, after_space=True)


def test_chinese_words_are_several_byte_tokens(bpe, wordpiece):
    verbalizer = Verbalizer({"a": ["好"], "b": ["bad"]})
    with pytest.raises(MindportError, match="not one token here but 4"):
        verbalizer.token_ids(bpe, after_space=True)
    with pytest.raises(MindportError, match="'好' is unknown to this vocabulary"):
        verbalizer.token_ids(wordpiece, after_space=True)


def test_words_that_become_one_token(wordpiece):
    verbalizer = Verbalizer({"a": ["Good"], "b": ["good"]})
    with pytest.raises(MindportError, match="'good' of label 'b' and 'Good' of label 'a' are the"):
        verbalizer.token_ids(wordpiece, after_space=True)


def test_special_tokens_are_no_words(bpe, wordpiece):
    for tokenizer, special in ((bpe, "<|endoftext|>"), (wordpiece, "[MASK]")):
        with pytest.raises(MindportError, match=r"not one token|unknown"):
            Verbalizer({"a": [special], "b": ["bad"]}).token_ids(tokenizer, after_space=False)
