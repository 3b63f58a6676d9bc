"""How alike two names are, word by word."""

from __future__ import annotations

import re
from collections import Counter

# What libraries call the same thing. Nothing is said of what only some of them mean by a word.
_SAME = {
    "norm": ("ln", "layernorm", "layer_norm"),
    "layer": ("h", "block", "blocks", "layers"),
    "attention": ("attn", "self_attn", "selfattention", "self_attention"),
    "embedding": ("emb", "embd", "embed", "embeddings"),
    "word": ("words", "token", "tokens", "tok", "vocab"),
    "position": ("pos", "positions", "positional"),
    "projection": ("proj",),
    "mlp": ("ffn", "feedforward", "feed_forward"),
    "query": ("q",),
    "key": ("k",),
    "value": ("v",),
    "final": ("f", "last"),
    "classifier": ("classification",),
}
_CANONICAL = {other: word for word, others in _SAME.items() for other in others}
_CANONICAL |= {"wte": "word embedding", "wpe": "position embedding", "qkv": "query key value"}
# Words of two parts, before names are cut at underscores.
_COMPOUND = re.compile("|".join(sorted((w for w in _CANONICAL if "_" in w), key=len, reverse=True)))


def words_of(name: str) -> Counter[str]:
    """Return the words of a module's name, each as the canonical one of its kind.

    Names are cut at dots, underscores, between small and capital letters and before numbers;
    placeholders such as ``{i}`` are left out.
    """
    name = re.sub(r"\{[a-z]\}", "", name).replace("LayerNorm", "layernorm")
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    name = _COMPOUND.sub(lambda match: _CANONICAL[match[0]], name)
    words = re.findall(r"[a-z]+|\d+", name)
    return Counter(part for word in words for part in _CANONICAL.get(word, word).split())


def likeness(one: str, other: str) -> float:
    """Return how alike two module names are, from 0 (no word in common) to 1 (all).

    It is Dice's coefficient of their words: twice those in common over those of both.
    """
    a, b = words_of(one), words_of(other)
    both = sum((a & b).values())
    return 2 * both / max(1, a.total() + b.total())
