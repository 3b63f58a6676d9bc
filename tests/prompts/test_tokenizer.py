from __future__ import annotations

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from mindport.migrate.errors import CheckpointError, MindportError
from mindport.prompts import PromptTokenizer
from mindport.prompts.encode import PromptEncoder


@pytest.fixture
def edited(bpe_folder, tmp_path):
    """Return a function that changes tokenizer.json and gives its folder."""

    def edit(change):
        content = json.loads((bpe_folder / "tokenizer.json").read_text())
        change(content)
        (tmp_path / "tokenizer.json").write_text(json.dumps(content))
        return tmp_path

    return edit


def test_byte_bpe(bpe):
    assert bpe.family == "byte-bpe"
    assert bpe.pieces(bpe.encode("Its was good")) == ["It", "s", " was", " good"]
    assert bpe.pieces(bpe.tokens_of_word("good", preceded_by_space=True)) == [" good"]
    assert bpe.pieces(bpe.tokens_of_word("good", preceded_by_space=False)) == ["good"]
    assert bpe.pieces(bpe.tokens_of_word("good film", True)) == [" good", " film"]
    assert (bpe.mask_id, bpe.cls_id, bpe.sep_id, bpe.unk_id) == (None,) * 4
    assert bpe.pad_id == 0  # <|endoftext|>: nothing is added to the vocabulary


def test_wordpiece(wordpiece):
    assert wordpiece.family == "wordpiece"
    assert wordpiece.pieces(wordpiece.encode("The FILM was, gööd.")) == [
        "the", "film", "was", ",", "good", "."
    ]  # fmt: skip
    for space in (True, False):
        assert wordpiece.pieces(wordpiece.tokens_of_word("goods", space)) == ["good", "##s"]
    special = (wordpiece.pad_id, wordpiece.unk_id, wordpiece.cls_id, wordpiece.sep_id)
    assert (*special, wordpiece.mask_id) == (0, 1, 2, 3, 4)


def test_vocab_and_merges_are_the_same_tokenizer(bpe, bpe_folder, tmp_path):
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(bpe_folder / name, tmp_path)
    other = PromptTokenizer.from_folder(tmp_path)
    assert other.hash == bpe.hash
    assert (other.pad_id, other.vocab_size) == (bpe.pad_id, bpe.vocab_size)
    for text in ("the film was good", " 好 \n\n x", "<|endoftext|> it's"):
        assert other.encode(text) == bpe.encode(text)


@pytest.mark.parametrize("kept", ["tokenizer.json", "vocab.json merges.txt"])
def test_byte_bpe_with_a_mask(masked_bpe_folder, bpe, tmp_path, kept):
    for name in ("tokenizer_config.json", *kept.split()):
        shutil.copy(masked_bpe_folder / name, tmp_path)
    tokenizer = PromptTokenizer.from_folder(tmp_path)
    assert tokenizer.family == "byte-bpe"
    special = tokenizer.cls_id, tokenizer.pad_id, tokenizer.sep_id, tokenizer.mask_id
    assert special == (0, 1, 2, tokenizer.vocab_size - 1)
    for text in ("the film was good", "<mask> it's <s>"):  # names of special tokens are text
        assert tokenizer.pieces(tokenizer.encode(text)) == bpe.pieces(bpe.encode(text))
        assert not {*special} & {*tokenizer.encode(text)}


def test_a_cloze_prompt_gives_the_space_to_the_mask(masked_bpe_folder, task, data):
    """As RoBERTa was trained: its mask takes the space before it along."""
    tokenizer = PromptTokenizer.from_folder(masked_bpe_folder)
    encoder = PromptEncoder(
        task.templates["cloze"], task.verbalizer, tokenizer, shape="cloze", max_length=64
    )
    prompt = encoder.encode(data[0])
    assert "".join(tokenizer.pieces(prompt.ids)) == "<s>It was<mask> . the film was good</s>"
    assert prompt.rows == (3,)


def test_case_follows_the_settings(wordpiece_folder, tmp_path):
    shutil.copy(wordpiece_folder / "vocab.txt", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    cased = PromptTokenizer.from_folder(tmp_path)
    assert cased.encode("Good good") == [cased.unk_id, *cased.encode("good")]


def test_a_vocabulary_may_hold_line_separators(tmp_path):
    (tmp_path / "vocab.txt").write_text("[UNK]\n\u2028\ngood\n", encoding="utf-8")
    tokenizer = PromptTokenizer.from_folder(tmp_path)
    assert (tokenizer.vocab_size, tokenizer.encode("good")) == (3, [2])


def test_settings_name_the_special_tokens(bpe_folder, tmp_path):
    shutil.copytree(bpe_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": {"content": "!"}}')
    tokenizer = PromptTokenizer.from_folder(tmp_path)
    assert tokenizer.pieces([tokenizer.pad_id]) == ["!"]
    assert tokenizer.encode("!") == [tokenizer.pad_id]  # still a word, and padding is masked


def test_unknown_words(wordpiece):
    for word in ("好", "good 好", "\u200b"):
        with pytest.raises(MindportError, match="is unknown to this vocabulary"):
            wordpiece.tokens_of_word(word, preceded_by_space=True)


@pytest.mark.parametrize("text", ["[MASK]", "[CLS] [SEP]", "a [PAD] b", "[mask]", "<|endoftext|>"])
def test_names_of_special_tokens_are_text(bpe, wordpiece, text):
    assert 0 not in bpe.encode(text)
    assert not {0, 2, 3, 4} & set(wordpiece.encode(text))


@pytest.mark.parametrize("special", [True, False])
def test_added_tokens_are_not_taken_from_the_text(wordpiece_folder, tmp_path, special):
    vocab = {w: i for i, w in enumerate((wordpiece_folder / "vocab.txt").read_text().split("\n"))}
    vocab.pop("")
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(["[MASK]"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokenizer = PromptTokenizer.from_folder(tmp_path)
    if special:
        assert tokenizer.mask_id not in tokenizer.encode("a [MASK] b")
    else:
        with pytest.raises(MindportError, match=r"holds '\[MASK\]', this vocabulary's mask token"):
            tokenizer.encode("a [MASK] b")


@given(st.text(alphabet="[]<|>MASKCLPDmask endoftx ", max_size=30))
def test_no_text_becomes_a_special_token(bpe, wordpiece, text):
    assert 0 not in bpe.encode(text)
    assert not {0, 2, 3, 4} & set(wordpiece.encode(text))


@given(st.text(max_size=30).filter(lambda t: t.isprintable()))
def test_byte_bpe_keeps_every_byte(bpe, text):
    assert bpe._tokenizer.decode(bpe.encode(text)) == text


def test_truncation_padding_and_prefix_space_are_switched_off(edited, bpe):
    def change(content):
        content["truncation"] = {
            "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0
        }  # fmt: skip
        content["padding"] = {
            "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>",
        }  # fmt: skip
        content["pre_tokenizer"]["add_prefix_space"] = True

    tokenizer = PromptTokenizer.from_folder(edited(change))
    assert tokenizer.encode("good film was") == bpe.encode("good film was")


def test_the_vocabulary_must_fit_the_model(bpe, bpe_folder):
    assert PromptTokenizer.from_folder(bpe_folder, vocab_size=bpe.vocab_size).hash == bpe.hash
    with pytest.raises(CheckpointError, match=r"ids up to .*, but the model's vocabulary has 270"):
        PromptTokenizer.from_folder(bpe_folder, vocab_size=270)


def test_an_added_token_makes_the_vocabulary_too_large(edited, bpe):
    def change(content):
        content["added_tokens"].append(
            {"id": bpe.vocab_size, "content": "<pad>", "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": False, "special": True}
        )  # fmt: skip

    with pytest.raises(CheckpointError, match="embeddings that were resized"):
        PromptTokenizer.from_folder(edited(change), vocab_size=bpe.vocab_size)


def test_no_tokenizer(tmp_path):
    with pytest.raises(CheckpointError, match=r"tokenizer.json, vocab.json with merges.txt, and"):
        PromptTokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"tokenizer.json": "{"}, "is not JSON"),
        ({"tokenizer.json": "[]"}, "must hold a JSON object"),
        ({"tokenizer.json": "{}"}, "is not a tokenizer"),
        ({"tokenizer.json": b"\xff"}, "is not UTF-8"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "a b\n"}, "do not fit together"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "#version: 0.2\na b c\n"}, "line 2: a merge is"),
        ({"vocab.json": '{"a": 0}', "merges.txt": ""}, "lacks 255 of the 256 bytes"),
        ({"vocab.txt": "a\nb\n"}, r"has no token '\[UNK\]'"),
        ({"vocab.txt": "[UNK]\n", "tokenizer_config.json": "{"}, "tokenizer_config.json is not"),
    ],
)
def test_damaged_files(tmp_path, files, said):
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=said):
        PromptTokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (models.Unigram([("a", 0.0)], 0), "is a Unigram tokenizer"),
        (models.BPE({"a": 0}, []), "is a BPE tokenizer without bytes"),
    ],
)
def test_other_families_are_refused(tmp_path, model, said):
    Tokenizer(model).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=said):
        PromptTokenizer.from_folder(tmp_path)
