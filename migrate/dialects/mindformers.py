"""MindFormers 1.x: GPT-2 and BERT.

Its transformer layer is one for all models: query, key and value are ``dense1`` to ``dense3``,
stored (out, in); ``projection`` and the feed-forward's ``mapping`` and ``projection`` stand
transposed to that, (in, out). BERT's ``layernorm2`` comes after attention and its ``layernorm1``
after the feed-forward; GPT-2's come before them, in order. The decoder of either is the embedding
table, always.

Written are the names that its networks give their parameters. What its ``convert_weight.py`` makes
is read as well: that knows ``bert.mlmloss.`` for ``mlmloss.`` and stores tied decoders, as
``head.head_weight`` and ``bert.mlmloss.vocab_dense``, where the networks have none. (BERT's lacks
the decoder's bias, which the network has as ``mlmloss.output_bias``.)

Source: github.com/mindspore-lab/mindformers, ``mindformers/models/gpt2`` and ``…/bert``
(``gpt2.py``, ``bert.py``, ``convert_weight.py``), ``mindformers/modules/transformer``.
"""

from __future__ import annotations

from dataclasses import replace

from mindport.migrate.dialect import MINDSPORE
from mindport.migrate.layout import Layout, Rule

_TIED = "its networks multiply by the embedding table"


def _rename(module: str, stored: str, *also: str) -> Rule:
    return Rule((module,), (stored,), also=also)


def _turn(module: str, stored: str) -> Rule:
    return Rule((module,), (stored,), transposed=True)


_H, _GPT2 = "h.{i}", "blocks.{i}"
_LAYER, _BERT = "encoder.layer.{i}", "bert_encoder.encoder.blocks.{i}"
_POST = "embedding_postprocessor"
_WORDS = "cls.predictions"

DIALECT = replace(
    MINDSPORE,
    name="mindformers",
    title="MindFormers",
    sign="word_embedding.embedding_table",
    closed=True,
    layouts={
        "gpt2": Layout(
            (
                _rename("wte", "embedding.word_embedding"),
                _rename("wpe", "embedding.position_embedding"),
                _rename(f"{_H}.ln_1", f"{_GPT2}.layernorm1"),
                Rule(
                    (f"{_H}.attn.c_attn",),
                    tuple(f"{_GPT2}.attention.dense{number}" for number in (1, 2, 3)),
                ),
                _turn(f"{_H}.attn.c_proj", f"{_GPT2}.attention.projection"),
                _rename(f"{_H}.ln_2", f"{_GPT2}.layernorm2"),
                _turn(f"{_H}.mlp.c_fc", f"{_GPT2}.output.mapping"),
                _turn(f"{_H}.mlp.c_proj", f"{_GPT2}.output.projection"),
                _rename("ln_f", "layernorm"),
                Rule(("lm_head",), ("head.head_weight",), whole=True),
            ),
            prefix="backbone.",
            heads=("lm", "sequence-classification", "none"),
            absent={"lm_head": _TIED},
        ),
        "bert": Layout(
            (
                _rename("embeddings.word_embeddings", "word_embedding"),
                _rename("embeddings.position_embeddings", f"{_POST}.full_position_embedding"),
                _rename("embeddings.token_type_embeddings", f"{_POST}.token_type_embedding"),
                _rename("embeddings.LayerNorm", f"{_POST}.layernorm"),
                _rename(f"{_LAYER}.attention.self.query", f"{_BERT}.attention.dense1"),
                _rename(f"{_LAYER}.attention.self.key", f"{_BERT}.attention.dense2"),
                _rename(f"{_LAYER}.attention.self.value", f"{_BERT}.attention.dense3"),
                _turn(f"{_LAYER}.attention.output.dense", f"{_BERT}.attention.projection"),
                _rename(f"{_LAYER}.attention.output.LayerNorm", f"{_BERT}.layernorm2"),
                _turn(f"{_LAYER}.intermediate.dense", f"{_BERT}.output.mapping"),
                _turn(f"{_LAYER}.output.dense", f"{_BERT}.output.projection"),
                _rename(f"{_LAYER}.output.LayerNorm", f"{_BERT}.layernorm1"),
                _rename("pooler.dense", "dense"),
                _rename(f"{_WORDS}.transform.dense", "mlmloss.dense", "bert.mlmloss.dense"),
                _rename(
                    f"{_WORDS}.transform.LayerNorm", "mlmloss.layernorm", "bert.mlmloss.layernorm"
                ),
                Rule((_WORDS,), ("mlmloss.output_bias",), whole=True),
                _rename(f"{_WORDS}.decoder", "mlmloss.vocab_dense", "bert.mlmloss.vocab_dense"),
                _rename("cls.seq_relationship", "nsploss.dense"),
            ),
            # Its classifier of texts is called BertForMultipleChoice.
            heads=(
                "pretraining",
                "sequence-classification",
                "token-classification",
                "question-answering",
                "none",
            ),
            absent={f"{_WORDS}.decoder": _TIED},
        ),
    },
)
