"""Text to token ids, the same on both sides: no framework and no ``transformers``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel

from mindport.migrate.errors import CheckpointError, MindportError
from mindport.prompts.tokenizer_files import Family, read_tokenizer


class PromptTokenizer:
    """A checkpoint's vocabulary, made to treat text as text.

    Truncation and padding that a ``tokenizer.json`` may carry are switched off, special tokens
    are never added, and their names in a text (``"[MASK]"``) are text. Byte-level BPE adds no
    space of its own before the first word.

    Attributes:
        family: ``byte-bpe`` (GPT-2, RoBERTa) or ``wordpiece`` (BERT, DistilBERT).
        vocab_size: The highest id plus one.
        hash: sha256 of the vocabulary: its tokens and their ids.
        mask_id: The mask, or None.
        cls_id: What begins a cloze prompt, or None.
        sep_id: What ends a cloze prompt, or None.
        unk_id: The unknown token of WordPiece, or None.
        pad_id: The padding token; without one the end of text, else 0: it is masked anyway.
    """

    def __init__(self, tokenizer: Tokenizer, family: Family, special: Mapping[str, int]) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self.family = family
        vocab = tokenizer.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocab.values()) + 1
        content = json.dumps(sorted((index, token) for token, index in vocab.items()))
        self.hash = hashlib.sha256(content.encode()).hexdigest()
        self.mask_id = special.get("mask")
        self.cls_id = special.get("cls")
        self.sep_id = special.get("sep")
        self.unk_id = special.get("unk") if family == "wordpiece" else None
        self.pad_id = special.get("pad", special.get("eos", 0))
        # Not the padding: people give that role to an ordinary token such as "!".
        self._reserved = {
            index: role for role, index in special.items() if role in ("mask", "cls", "sep", "eos")
        }

    @classmethod
    def from_folder(cls, folder: Path, *, vocab_size: int | None = None) -> PromptTokenizer:
        """Read the tokenizer that lies beside a checkpoint.

        Args:
            folder: The checkpoint's folder: with ``tokenizer.json``, or ``vocab.json`` and
                ``merges.txt``, or ``vocab.txt``, looked for in this order.
            vocab_size: The model's; every id of the tokenizer must be below it.

        Raises:
            CheckpointError: If there is none, it is damaged or of another family, or it does not
                fit the model.
        """
        tokenizer = cls(*read_tokenizer(folder))
        if vocab_size is not None and tokenizer.vocab_size > vocab_size:
            raise CheckpointError(
                f"The tokenizer in {folder} has ids up to {tokenizer.vocab_size - 1}, but the "
                f"model's vocabulary has {vocab_size} tokens (ids 0 to {vocab_size - 1}).",
                "Use the tokenizer that the weights were trained with; a token that was added "
                "later needs embeddings that were resized too.",
            )
        return tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without special tokens.

        Raises:
            MindportError: If a piece of the text is a special token in this vocabulary after all.
        """
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        for index in ids:
            if index in self._reserved:
                raise MindportError(
                    f"The text {text[:60]!r} holds {self._tokenizer.id_to_token(index)!r}, this "
                    f"vocabulary's {self._reserved[index]} token.",
                    "Remove it from the text; special tokens are added where they belong.",
                )
        return ids

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return what each token reads like; byte-level BPE shows its leading space.

        An id that has an embedding but no token reads like its number.
        """
        tokens = [self._tokenizer.id_to_token(index) or f"<{index}>" for index in ids]
        if self.family == "byte-bpe":
            return [ByteLevel().decode([token]) for token in tokens]
        return tokens

    def tokens_of_word(self, word: str, preceded_by_space: bool) -> tuple[int, ...]:
        """Return the tokens of a label word.

        Args:
            word: Without space around it.
            preceded_by_space: Whether a space stands before it. In byte-level BPE ``" good"`` and
                ``"good"`` are different tokens; in WordPiece they are not.

        Raises:
            MindportError: If the vocabulary does not know it.
        """
        spaced = f" {word}" if preceded_by_space and self.family == "byte-bpe" else word
        ids = self.encode(spaced)
        if not ids or self.unk_id in ids:
            raise MindportError(
                f"The word {word!r} is unknown to this vocabulary.", "Choose another word."
            )
        return tuple(ids)
