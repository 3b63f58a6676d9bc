"""DistilBERT as ``transformers`` names it (``models/distilbert/modeling_distilbert.py``).

Paper: Sanh et al., *DistilBERT, a distilled version of BERT*, 2019 (arXiv 1910.01108). A BERT of
half the layers without segments and without a pooler; upstream's names and config fields are its
own.
"""

from __future__ import annotations

from mindport.migrate.architecture import Architecture, Buffer, Field, Kind, Parameter, Tap, Tied
from mindport.migrate.computation import Activate, Lookup, Norm, Step
from mindport.migrate.encoder import Encoder
from mindport.migrate.parts import MaskedWords, PostNormBlock, dense, norm, table

_EPS = 1e-12  # written into the network, not into the config
_LAYER = "transformer.layer.{i}"
_BLOCK = PostNormBlock(
    block=_LAYER,
    query=f"{_LAYER}.attention.q_lin",
    key=f"{_LAYER}.attention.k_lin",
    value=f"{_LAYER}.attention.v_lin",
    softmax=f"{_LAYER}.attention",
    out=f"{_LAYER}.attention.out_lin",
    attention=f"{_LAYER}.sa_layer_norm",
    first_norm=f"{_LAYER}.sa_layer_norm",
    up=f"{_LAYER}.ffn.lin1",
    activation=f"{_LAYER}.ffn.activation",
    down=f"{_LAYER}.ffn.lin2",
    second_norm=f"{_LAYER}.output_layer_norm",
)
_TABLES = (
    ("embeddings.word_embeddings", "input_ids"),
    ("embeddings.position_embeddings", "position_ids"),
)
_ENCODER = Encoder(
    prefix="distilbert.",
    width="dim",
    inputs=("input_ids", "attention_mask", "position_ids"),
    parameters=(
        table("embeddings.word_embeddings", "vocab_size", "dim"),
        table("embeddings.position_embeddings", "max_position_embeddings", "dim"),
        *norm("embeddings.LayerNorm", "dim"),
        *_BLOCK.parameters("dim", "hidden_dim"),
    ),
    taps=(
        Tap("embeddings.sum", module="embeddings.LayerNorm", end="input", detail=True),
        Tap("embeddings", module="embeddings"),
        *_BLOCK.taps(),
    ),
    steps=(
        Step("embeddings.sum", Lookup(_TABLES)),
        Step("embeddings", Norm("embeddings.LayerNorm", _EPS), ("embeddings.sum",)),
        *_BLOCK.steps("n_heads", "activation", _EPS),
    ),
)
_WORDS = MaskedWords(
    "vocab_transform", "vocab_layer_norm", "vocab_projector", Activate("activation"), _EPS
)
_MLM = (
    *dense(_WORDS.dense, "dim", "dim"),
    *norm(_WORDS.norm, "dim"),
    Parameter(_WORDS.decoder, Kind.BIAS, ("vocab_size",)),
)
_MLM_TIED = (
    Tied(
        Parameter(_WORDS.decoder, Kind.LINEAR, ("vocab_size", "dim")),
        to="distilbert.embeddings.word_embeddings",
        to_kind=Kind.EMBEDDING,
        unless="tie_word_embeddings",
    ),
)


def _size(vocabulary: int, positions: int, width: int, layers: int, heads: int) -> dict[str, int]:
    return {
        "vocab_size": vocabulary,
        "max_position_embeddings": positions,
        "dim": width,
        "n_layers": layers,
        "n_heads": heads,
        "hidden_dim": 4 * width,
    }


ARCHITECTURE = Architecture(
    name="distilbert",
    title="DistilBERT",
    prefix=_ENCODER.prefix,
    layers="n_layers",
    positions="max_position_embeddings",
    fields=(
        Field("vocab_size", dimension=True),
        Field("max_position_embeddings", dimension=True),
        Field("dim", dimension=True),
        Field("n_layers", dimension=True),
        Field("n_heads", dimension=True),
        Field("hidden_dim", "4*dim", dimension=True),
        Field("activation", "gelu", allowed=("gelu", "gelu_new", "relu")),
        Field("tie_word_embeddings", True, allowed=(True, False)),
        # A sinusoidal table is stored like a learned one; only a fresh one differs.
        Field("sinusoidal_pos_embds", False, allowed=(True, False)),
        Field("dropout", 0.1),
        Field("attention_dropout", 0.1),
        Field("qa_dropout", 0.1),
        Field("seq_classif_dropout", 0.2),
        Field("initializer_range", 0.02),
        Field("pad_token_id", 0),
    ),
    heads={
        "none": _ENCODER.alone("DistilBertModel"),
        "mlm": _ENCODER.fills_masks(
            "DistilBertForMaskedLM", _WORDS, _MLM, _MLM_TIED, projection=_WORDS.dense
        ),
        "sequence-classification": _ENCODER.classifies_sequences(
            "DistilBertForSequenceClassification",
            "pre_classifier",
            Activate(function="relu"),
        ),
        "token-classification": _ENCODER.classifies_tokens("DistilBertForTokenClassification"),
        "question-answering": _ENCODER.finds_answers("DistilBertForQuestionAnswering"),
    },
    default_head="mlm",
    buffers=(Buffer("embeddings.position_ids", "0, 1, 2 …; the network builds it"),),
    cells={
        "block": _LAYER,
        "attention": f"{_LAYER}.attention.mixing.attention",
        "activation": f"{_LAYER}.ffn.activation",
        "embeddings-dropout": "embeddings.dropout",
        "mlp-dropout": f"{_LAYER}.ffn.dropout",
    },
    sizes={
        "tiny": _size(512, 64, 64, 4, 4),
        "base": _size(30522, 512, 768, 6, 12),
    },
    sources=(
        "Sanh et al. 2019, arXiv 1910.01108",
        "transformers 5.23.0, models/distilbert/modeling_distilbert.py",
    ),
)
