"""Train and save the two vocabularies: byte-level BPE for GPT-2, uncased WordPiece for BERT."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import cycle, islice
from pathlib import Path

from data import Corpus
from prompting import LABEL_WORDS
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

SIZE = 4800
POSITIONS = 128
END = "<|endoftext|>"
BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WEIGHT = 6  # how often the sentiment text is added again, so that its words get tokens too
REPEATS = 3000  # how often the words of the prompts are added, so that each becomes one token


def _texts(corpus: Corpus) -> Iterator[str]:
    """Yield the training text, the lexicon, and the words of the prompts many times over."""
    yield from corpus.unlabelled
    for row in corpus.lexicon + corpus.sentiment.train:  # few words beside the newsgroups
        yield from [f" {row.text}"] * WEIGHT
    words = [word for task in LABEL_WORDS.values() for label in task.values() for word in label]
    for word in islice(cycle([*words, "Topic:", "It was", "topic:", "it was"]), REPEATS * 13):
        yield f" {word}"


def train_bpe(corpus: Corpus) -> Tokenizer:
    """Train the byte-level BPE vocabulary that GPT-2 reads."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(corpus), trainer)
    return tokenizer


def train_wordpiece(corpus: Corpus) -> Tokenizer:
    """Train the uncased WordPiece vocabulary that BERT reads."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - not a password
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    trainer = trainers.WordPieceTrainer(
        vocab_size=SIZE, special_tokens=list(BERT_SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator(_texts(corpus), trainer)
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return tokenizer


def check_single(tokenizer: Tokenizer, words: Iterable[str]) -> None:
    """Insist that each word is one token.

    Raises:
        ValueError: a word is split.
    """
    for word in words:
        if len(tokenizer.encode(word, add_special_tokens=False).ids) != 1:
            raise ValueError(f"{word!r} is not a single token")


def _write_settings(folder: Path, settings: dict[str, object]) -> None:
    """Write `tokenizer_config.json`."""
    text = json.dumps({"model_max_length": POSITIONS, **settings}, indent=2)
    (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")


def save_bpe(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the vocabulary in the files that a GPT-2 folder has."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.model.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    ends = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END)
    _write_settings(folder, {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, **ends})


def save_wordpiece(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the vocabulary in the files that a BERT folder has."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.model.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = ("pad", "unk", "cls", "sep", "mask")
    special = {f"{name}_token": f"[{name.upper()}]" for name in names}
    _write_settings(folder, {"tokenizer_class": "BertTokenizer", "do_lower_case": True, **special})
