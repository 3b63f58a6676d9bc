"""BERT as ``transformers`` names it (``models/bert/modeling_bert.py``).

Paper: Devlin et al., *BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding*, 2019 (arXiv 1810.04805).
"""

from __future__ import annotations

from typing import Any

from mindport.migrate.architecture import (
    Architecture,
    Buffer,
    Field,
    Head,
    Kind,
    Parameter,
    Tap,
    Target,
    Tied,
)
from mindport.migrate.computation import Activate, Lookup, Norm, Step
from mindport.migrate.encoder import LOGITS, Encoder, Pooler
from mindport.migrate.parts import MaskedWords, PostNormBlock, dense, linear, norm, table

WIDTH, EPS = "hidden_size", "layer_norm_eps"
_LAYER = "encoder.layer.{i}"
_SELF, _OUT = f"{_LAYER}.attention.self", f"{_LAYER}.attention.output"
BLOCK = PostNormBlock(
    block=_LAYER,
    query=f"{_SELF}.query",
    key=f"{_SELF}.key",
    value=f"{_SELF}.value",
    softmax=_SELF,
    out=f"{_OUT}.dense",
    attention=f"{_LAYER}.attention",
    first_norm=f"{_OUT}.LayerNorm",
    up=f"{_LAYER}.intermediate.dense",
    activation=f"{_LAYER}.intermediate",
    down=f"{_LAYER}.output.dense",
    second_norm=f"{_LAYER}.output.LayerNorm",
)
ENCODER = Encoder(
    prefix="bert.",
    width=WIDTH,
    inputs=("input_ids", "attention_mask", "token_type_ids", "position_ids"),
    parameters=(
        table("embeddings.word_embeddings", "vocab_size", WIDTH),
        table("embeddings.position_embeddings", "max_position_embeddings", WIDTH),
        table("embeddings.token_type_embeddings", "type_vocab_size", WIDTH),
        *norm("embeddings.LayerNorm", WIDTH),
        *BLOCK.parameters(WIDTH, "intermediate_size"),
    ),
    taps=(
        Tap("embeddings.sum", module="embeddings.LayerNorm", end="input", detail=True),
        Tap("embeddings", module="embeddings"),
        *BLOCK.taps(),
    ),
    steps=(
        Step(
            "embeddings.sum",
            Lookup(
                (
                    ("embeddings.word_embeddings", "input_ids"),
                    ("embeddings.token_type_embeddings", "token_type_ids"),
                    ("embeddings.position_embeddings", "position_ids"),
                )
            ),
        ),
        Step("embeddings", Norm("embeddings.LayerNorm", EPS), ("embeddings.sum",)),
        *BLOCK.steps("num_attention_heads", "hidden_act", EPS),
    ),
)
POOLER = Pooler("pooler.dense", WIDTH, Activate(function="tanh"))
FIELDS = (
    Field("vocab_size", dimension=True),
    Field("max_position_embeddings", dimension=True),
    Field("hidden_size", dimension=True),
    Field("num_hidden_layers", dimension=True),
    Field("num_attention_heads", dimension=True),
    Field("intermediate_size", dimension=True),
    Field("type_vocab_size", 2, dimension=True),
    Field("hidden_act", "gelu", allowed=("gelu", "gelu_new", "relu")),
    Field("layer_norm_eps", 1e-12),
    Field("tie_word_embeddings", True, allowed=(True, False)),
    Field("position_embedding_type", "absolute", allowed=("absolute",)),
    Field("is_decoder", False, allowed=(False,)),
    Field("add_cross_attention", False, allowed=(False,)),
    Field("hidden_dropout_prob", 0.1),
    Field("attention_probs_dropout_prob", 0.1),
    Field("classifier_dropout", None),
    Field("initializer_range", 0.02),
)
BUFFERS = (
    Buffer("embeddings.position_ids", "0, 1, 2 …; the network builds it"),
    Buffer("embeddings.token_type_ids", "zeros; the network builds it"),
)
CELLS = {
    "block": _LAYER,
    "attention": f"{_SELF}.mixing.attention",
    "activation": f"{_LAYER}.intermediate.activation",
    "embeddings-dropout": "embeddings.dropout",
    "mlp-dropout": f"{_LAYER}.output.dropout",
    "pooler": "pooler",
}

_TRANSFORM = "cls.predictions.transform"
_WORDS = MaskedWords(
    f"{_TRANSFORM}.dense",
    f"{_TRANSFORM}.LayerNorm",
    "cls.predictions.decoder",
    Activate("hidden_act"),
    EPS,
)
_MLM = (
    Parameter("cls.predictions", Kind.BIAS, ("vocab_size",)),
    *dense(_WORDS.dense, WIDTH, WIDTH),
    *norm(_WORDS.norm, WIDTH),
)
_MLM_TIED = (
    Tied(
        Parameter(_WORDS.decoder, Kind.LINEAR, ("vocab_size", WIDTH)),
        to="bert.embeddings.word_embeddings",
        to_kind=Kind.EMBEDDING,
        unless="tie_word_embeddings",
    ),
    Tied(
        Parameter(_WORDS.decoder, Kind.BIAS, ("vocab_size",)),
        to="cls.predictions",
        to_kind=Kind.BIAS,
        unless="tie_word_embeddings",
    ),
)
_PAIRS = "cls.seq_relationship"


def _pooled(
    name: str,
    class_name: str,
    parameters: tuple[Parameter, ...],
    taps: tuple[Tap, ...],
    steps: tuple[Step, ...],
    targets: tuple[Target, ...],
    **options: Any,
) -> Head:
    return Head(
        name,
        class_name,
        ENCODER.prefix,
        ENCODER.parameters + POOLER.parameters,
        parameters=parameters,
        taps=ENCODER.taps + POOLER.taps + taps,
        steps=ENCODER.steps + POOLER.steps + steps,
        inputs=ENCODER.inputs,
        targets=targets,
        **options,
    )


def size(vocabulary: int, positions: int, width: int, layers: int, heads: int) -> dict[str, int]:
    """Return the config of a named size."""
    return {
        "vocab_size": vocabulary,
        "max_position_embeddings": positions,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
    }


ARCHITECTURE = Architecture(
    name="bert",
    title="BERT",
    prefix="bert.",
    layers="num_hidden_layers",
    positions="max_position_embeddings",
    fields=(*FIELDS, Field("pad_token_id", 0)),
    heads={
        "none": ENCODER.alone("BertModel", POOLER),
        "mlm": ENCODER.fills_masks(
            "BertForMaskedLM", _WORDS, _MLM, _MLM_TIED, projection="cls.predictions"
        ),
        "nsp": _pooled(
            "nsp",
            "BertForNextSentencePrediction",
            dense(_PAIRS, "2", WIDTH),
            (LOGITS,),
            (Step("logits", linear(_PAIRS), ("pooler",)),),
            (Target("labels", "logits", "sequence", "2"),),
        ),
        "pretraining": _pooled(
            "pretraining",
            "BertForPreTraining",
            _MLM + dense(_PAIRS, "2", WIDTH),
            (
                *_WORDS.taps(),
                Tap("logits", output="prediction_logits"),
                Tap("nsp_logits", output="seq_relationship_logits"),
            ),
            (*_WORDS.steps(), Step("nsp_logits", linear(_PAIRS), ("pooler",))),
            (
                Target("labels", "prediction_logits", classes="vocab_size"),
                Target("next_sentence_label", "seq_relationship_logits", "sequence", "2"),
            ),
            tied=_MLM_TIED,
            prompts="cloze",
            projection="cls.predictions",
        ),
        "sequence-classification": _pooled(
            "sequence-classification",
            "BertForSequenceClassification",
            dense("classifier", "num_labels", WIDTH),
            (LOGITS,),
            (Step("logits", linear("classifier"), ("pooler",)),),
            (Target("labels", "logits", "sequence"),),
        ),
        "token-classification": ENCODER.classifies_tokens("BertForTokenClassification"),
        "question-answering": ENCODER.finds_answers("BertForQuestionAnswering"),
    },
    default_head="mlm",
    buffers=BUFFERS,
    cells=CELLS,
    sizes={
        "tiny": size(vocabulary=512, positions=64, width=64, layers=4, heads=4),
        "base": size(vocabulary=30522, positions=512, width=768, layers=12, heads=12),
        "large": size(vocabulary=30522, positions=512, width=1024, layers=24, heads=16),
    },
    sources=(
        "Devlin et al. 2019, arXiv 1810.04805",
        "transformers 5.23.0, models/bert/modeling_bert.py",
    ),
)
