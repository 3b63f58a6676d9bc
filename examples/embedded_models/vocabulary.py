"""Train and save the two vocabularies: byte-level BPE for GPT-2, uncased WordPiece for BERT."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

POSITIONS = 128
END = "<|endoftext|>"
BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_bpe(texts: Iterable[str], size: int) -> Tokenizer:
    """Train the byte-level BPE vocabulary that GPT-2 reads."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def train_wordpiece(texts: Iterable[str], size: int) -> Tokenizer:
    """Train the uncased WordPiece vocabulary that BERT reads."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - not a password
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=list(BERT_SPECIAL),
        limit_alphabet=max(1000, size * 9 // 10),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return tokenizer


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
