"""RoBERTa as ``transformers`` names it (``models/roberta/modeling_roberta.py``).

Paper: Liu et al., *RoBERTa: A Robustly Optimized BERT Pretraining Approach*, 2019 (arXiv
1907.11692). The encoder is BERT's; what differs is how positions are counted and the heads.
"""

from __future__ import annotations

from dataclasses import replace

from mindport.migrate.architecture import Architecture, Field, Kind, Parameter, Tied
from mindport.migrate.architectures.bert import (
    BUFFERS,
    CELLS,
    ENCODER,
    EPS,
    FIELDS,
    POOLER,
    WIDTH,
    size,
)
from mindport.migrate.computation import Activate
from mindport.migrate.parts import MaskedWords, dense, norm

_ENCODER = replace(ENCODER, prefix="roberta.")
# Whatever hidden_act says, the head's activation is GELU.
_WORDS = MaskedWords(
    "lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", Activate(function="gelu"), EPS
)
_MLM = (
    Parameter("lm_head", Kind.BIAS, ("vocab_size",)),
    *dense(_WORDS.dense, WIDTH, WIDTH),
    *norm(_WORDS.norm, WIDTH),
)
_MLM_TIED = (
    Tied(
        Parameter(_WORDS.decoder, Kind.LINEAR, ("vocab_size", WIDTH)),
        to="roberta.embeddings.word_embeddings",
        to_kind=Kind.EMBEDDING,
        unless="tie_word_embeddings",
    ),
    Tied(
        Parameter(_WORDS.decoder, Kind.BIAS, ("vocab_size",)),
        to="lm_head",
        to_kind=Kind.BIAS,
        unless="tie_word_embeddings",
    ),
)
_RELEASED = {"type_vocab_size": 1, "layer_norm_eps": 1e-5}  # of all checkpoints by the authors

ARCHITECTURE = Architecture(
    name="roberta",
    title="RoBERTa",
    prefix=_ENCODER.prefix,
    layers="num_hidden_layers",
    positions="max_position_embeddings",
    positions_after="pad_token_id",
    fields=(*FIELDS, Field("pad_token_id", 1)),
    heads={
        "none": _ENCODER.alone("RobertaModel", POOLER),
        "mlm": _ENCODER.fills_masks(
            "RobertaForMaskedLM", _WORDS, _MLM, _MLM_TIED, projection="lm_head"
        ),
        "sequence-classification": _ENCODER.classifies_sequences(
            "RobertaForSequenceClassification",
            "classifier.dense",
            Activate(function="tanh"),
            "classifier.out_proj",
        ),
        "token-classification": _ENCODER.classifies_tokens("RobertaForTokenClassification"),
        "question-answering": _ENCODER.finds_answers("RobertaForQuestionAnswering"),
    },
    default_head="mlm",
    buffers=BUFFERS,
    cells=CELLS,
    sizes={
        "tiny": {**size(512, 66, 64, 4, 4), **_RELEASED},
        "base": {**size(50265, 514, 768, 12, 12), **_RELEASED},
        "large": {**size(50265, 514, 1024, 24, 16), **_RELEASED},
    },
    sources=(
        "Liu et al. 2019, arXiv 1907.11692",
        "transformers 5.23.0, models/roberta/modeling_roberta.py",
    ),
)
