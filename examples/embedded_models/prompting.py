"""Render the prompts, and read a prediction from the logits at the answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from data import Row
from tokenizers import Tokenizer
from torch import Tensor

Model = Any  # a transformers model with a language-modelling head

LIMIT = 128
LABEL_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "sentiment": {"negative": ("bad", "terrible"), "positive": ("good", "great")},
    "topic": {word: (word,) for word in ("computer", "medicine", "religion", "space", "sport")},
    "sentiment-zh": {"negative": ("差", "糟"), "positive": ("好", "棒")},
}
# After the text, before the answer; a space at the end belongs to the answer's token.
PREFIX = {"sentiment": " It was ", "topic": " Topic: ", "sentiment-zh": " 总的来说很"}
CLOZE = {  # before the text
    "sentiment": "It was [MASK] . ",
    "topic": "Topic: [MASK] . ",
    "sentiment-zh": "很[MASK]。",
}


@dataclass(frozen=True)
class Batch:
    """Padded prompts: which positions are real, and where each row's answer stands."""

    ids: Tensor
    mask: Tensor
    answers: Tensor


class Prompter(ABC):
    """What the two families share: padding, label words, prediction."""

    def __init__(self, tokenizer: Tokenizer, pad: str) -> None:
        self.tokenizer = tokenizer
        self.pad = self.token(pad)

    def token(self, name: str) -> int:
        """Return the id of a token that the vocabulary must have."""
        found: int | None = self.tokenizer.token_to_id(name)
        if found is None:
            raise ValueError(f"the vocabulary has no token {name!r}")
        return found

    def pieces(self, text: str) -> list[int]:
        """Encode a text without special tokens."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def single(self, text: str) -> int:
        """Return the one token of a text.

        Raises:
            ValueError: it is split.
        """
        ids = self.pieces(text)
        if len(ids) != 1:
            raise ValueError(f"{text!r} is not a single token")
        return ids[0]

    @abstractmethod
    def encode(self, text: str, task: str) -> tuple[list[int], int]:
        """Return the token ids of a prompt, and the position that holds the answer's logits."""

    @abstractmethod
    def word(self, word: str, task: str) -> int:
        """Return the one token of a label word as it stands in the prompt."""

    @abstractmethod
    def logits(self, model: Model, batch: Batch) -> Tensor:
        """Return the logits over the vocabulary at each row's answer."""

    def words(self, task: str) -> Tensor:
        """Return the label words' tokens, one row a label."""
        groups = LABEL_WORDS[task].values()
        return torch.tensor([[self.word(word, task) for word in words] for words in groups])

    def batch(self, texts: Sequence[str], task: str) -> Batch:
        """Encode texts and pad them on the right."""
        rows = [self.encode(text, task) for text in texts]
        width = max(len(ids) for ids, _ in rows)
        ids = torch.full((len(rows), width), self.pad)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for number, (row, _) in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            mask[number, : len(row)] = 1
        return Batch(ids, mask, torch.tensor([answer for _, answer in rows]))


class PrefixPrompter(Prompter):
    """GPT-2: the answer is the token after the prompt."""

    def encode(self, text: str, task: str) -> tuple[list[int], int]:
        """Put the template after the text."""
        tail = self.pieces(PREFIX[task].rstrip())
        ids = self.pieces(text)[: LIMIT - 1 - len(tail)] + tail
        return ids, len(ids) - 1

    def word(self, word: str, task: str) -> int:
        """Encode the word with the space, if any, that comes before it."""
        return self.single(f" {word}" if PREFIX[task].endswith(" ") else word)

    def logits(self, model: Model, batch: Batch) -> Tensor:
        """Run the stack once, and the head at the answers only."""
        states = model.transformer(batch.ids, attention_mask=batch.mask).last_hidden_state
        answered: Tensor = model.lm_head(states[torch.arange(len(states)), batch.answers])
        return answered


class ClozePrompter(Prompter):
    """BERT: the answer is the masked token."""

    def encode(self, text: str, task: str) -> tuple[list[int], int]:
        """Put the template before the text."""
        first, last, mask = (self.token(name) for name in ("[CLS]", "[SEP]", "[MASK]"))
        head = [first, *self.pieces(CLOZE[task])]
        ids = [*head, *self.pieces(text)[: LIMIT - 1 - len(head)], last]
        return ids, head.index(mask)

    def word(self, word: str, task: str) -> int:
        """Encode the bare word."""
        return self.single(word)

    def logits(self, model: Model, batch: Batch) -> Tensor:
        """Run the stack once, and the head at the masks only."""
        states = model.bert(batch.ids, attention_mask=batch.mask).last_hidden_state
        answered: Tensor = model.cls(states[torch.arange(len(states)), batch.answers])
        return answered


@torch.no_grad()
def accuracy(model: Model, prompter: Prompter, rows: Sequence[Row], task: str) -> float:
    """Return the share of rows whose label has the largest mean label-word logit."""
    model.eval()
    labels, words = list(LABEL_WORDS[task]), prompter.words(task)
    ordered = sorted(rows, key=lambda row: len(row.text))
    right = 0
    for start in range(0, len(ordered), 50):
        part = ordered[start : start + 50]
        logits = prompter.logits(model, prompter.batch([row.text for row in part], task))
        guesses = logits[:, words].mean(dim=-1).argmax(dim=-1).tolist()
        right += sum(labels[g] == row.label for g, row in zip(guesses, part, strict=True))
    return right / len(ordered)
