"""BERT as ``transformers`` names it (``models/bert/modeling_bert.py``).

Paper: Devlin et al., *BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding*, 2019 (arXiv 1810.04805).
"""

from __future__ import annotations

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
from mindport.migrate.computation import (
    PREVIOUS,
    Activate,
    Add,
    Lookup,
    Norm,
    Project,
    Score,
    Step,
    attention_steps,
)

INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
_LAYER = "encoder.layer.{i}"


def _table(module: str, rows: str) -> Parameter:
    return Parameter(module, Kind.EMBEDDING, (rows, "hidden_size"))


def _dense(module: str, out_size: str, in_size: str) -> tuple[Parameter, ...]:
    return (
        Parameter(module, Kind.LINEAR, (out_size, in_size)),
        Parameter(module, Kind.BIAS, (out_size,)),
    )


def _norm(module: str) -> tuple[Parameter, ...]:
    return (
        Parameter(module, Kind.NORM_WEIGHT, ("hidden_size",)),
        Parameter(module, Kind.NORM_BIAS, ("hidden_size",)),
    )


BODY = (
    _table("embeddings.word_embeddings", "vocab_size"),
    _table("embeddings.position_embeddings", "max_position_embeddings"),
    _table("embeddings.token_type_embeddings", "type_vocab_size"),
    *_norm("embeddings.LayerNorm"),
    *_dense(f"{_LAYER}.attention.self.query", "hidden_size", "hidden_size"),
    *_dense(f"{_LAYER}.attention.self.key", "hidden_size", "hidden_size"),
    *_dense(f"{_LAYER}.attention.self.value", "hidden_size", "hidden_size"),
    *_dense(f"{_LAYER}.attention.output.dense", "hidden_size", "hidden_size"),
    *_norm(f"{_LAYER}.attention.output.LayerNorm"),
    *_dense(f"{_LAYER}.intermediate.dense", "intermediate_size", "hidden_size"),
    *_dense(f"{_LAYER}.output.dense", "hidden_size", "intermediate_size"),
    *_norm(f"{_LAYER}.output.LayerNorm"),
)
POOLER = _dense("pooler.dense", "hidden_size", "hidden_size")

MLM = (
    Parameter("cls.predictions", Kind.BIAS, ("vocab_size",)),
    *_dense("cls.predictions.transform.dense", "hidden_size", "hidden_size"),
    *_norm("cls.predictions.transform.LayerNorm"),
)
MLM_TIED = (
    Tied(
        Parameter("cls.predictions.decoder", Kind.LINEAR, ("vocab_size", "hidden_size")),
        to="bert.embeddings.word_embeddings",
        to_kind=Kind.EMBEDDING,
        unless="tie_word_embeddings",
    ),
    Tied(
        Parameter("cls.predictions.decoder", Kind.BIAS, ("vocab_size",)),
        to="cls.predictions",
        to_kind=Kind.BIAS,
        unless="tie_word_embeddings",
    ),
)
NSP = _dense("cls.seq_relationship", "2", "hidden_size")

_BLOCK = "block.{i}"
_SELF, _OUT = f"{_LAYER}.attention.self", f"{_LAYER}.attention.output"
BODY_TAPS = (
    Tap("embeddings.sum", module="embeddings.LayerNorm", end="input", detail=True),
    Tap("embeddings", module="embeddings"),
    Tap(f"{_BLOCK}.query", module=f"{_SELF}.query", detail=True),
    Tap(f"{_BLOCK}.key", module=f"{_SELF}.key", detail=True),
    Tap(f"{_BLOCK}.value", module=f"{_SELF}.value", detail=True),
    Tap(f"{_BLOCK}.scores", module=_SELF, end="softmax-input", detail=True),
    Tap(f"{_BLOCK}.weights", module=_SELF, end="softmax-output", detail=True),
    Tap(f"{_BLOCK}.context", module=f"{_OUT}.dense", end="input", detail=True),
    Tap(f"{_BLOCK}.projection", module=f"{_OUT}.dense", detail=True),
    Tap(f"{_BLOCK}.residual", module=f"{_OUT}.LayerNorm", end="input", detail=True),
    Tap(f"{_BLOCK}.attention", module=f"{_LAYER}.attention"),  # with its residual and norm
    Tap(f"{_BLOCK}.up", module=f"{_LAYER}.intermediate.dense", detail=True),
    Tap(f"{_BLOCK}.activation", module=f"{_LAYER}.intermediate", detail=True),
    Tap(f"{_BLOCK}.mlp", module=f"{_LAYER}.output.dense"),  # before the residual and norm
    Tap(f"{_BLOCK}.sum", module=f"{_LAYER}.output.LayerNorm", end="input", detail=True),
    Tap(_BLOCK, module=_LAYER),
)
POOLER_TAPS = (
    Tap("pooler.dense", module="pooler.dense", detail=True),
    Tap("pooler", module="pooler"),
)
_TRANSFORM = "cls.predictions.transform"
MLM_TAPS = (
    Tap("head.dense", module=f"{_TRANSFORM}.dense", detail=True, in_body=False),
    Tap("head.activation", module=f"{_TRANSFORM}.LayerNorm", end="input", detail=True,
        in_body=False),
    Tap("head.norm", module=_TRANSFORM, detail=True, in_body=False),
)  # fmt: skip
LOGITS = Tap("logits", output="logits")
_TABLES = (
    ("embeddings.word_embeddings", "input_ids"),
    ("embeddings.token_type_embeddings", "token_type_ids"),
    ("embeddings.position_embeddings", "position_ids"),
)


def _linear(module: str) -> Project:
    return Project(module, bias=module)


BODY_STEPS = (
    Step("embeddings.sum", Lookup(_TABLES)),
    Step("embeddings", Norm("embeddings.LayerNorm", "layer_norm_eps"), ("embeddings.sum",)),
    *attention_steps(
        PREVIOUS,
        (_linear(f"{_SELF}.query"), _linear(f"{_SELF}.key"), _linear(f"{_SELF}.value")),
        Score("num_attention_heads", causal=False),
    ),
    Step(f"{_BLOCK}.projection", _linear(f"{_OUT}.dense"), (f"{_BLOCK}.context",)),
    Step(f"{_BLOCK}.residual", Add(), (f"{_BLOCK}.projection", PREVIOUS)),
    Step(
        f"{_BLOCK}.attention",
        Norm(f"{_OUT}.LayerNorm", "layer_norm_eps"),
        (f"{_BLOCK}.residual",),
    ),
    Step(f"{_BLOCK}.up", _linear(f"{_LAYER}.intermediate.dense"), (f"{_BLOCK}.attention",)),
    Step(f"{_BLOCK}.activation", Activate("hidden_act"), (f"{_BLOCK}.up",)),
    Step(f"{_BLOCK}.mlp", _linear(f"{_LAYER}.output.dense"), (f"{_BLOCK}.activation",)),
    Step(f"{_BLOCK}.sum", Add(), (f"{_BLOCK}.mlp", f"{_BLOCK}.attention")),
    Step(_BLOCK, Norm(f"{_LAYER}.output.LayerNorm", "layer_norm_eps"), (f"{_BLOCK}.sum",)),
)
POOLER_STEPS = (
    Step("pooler.dense", Project("pooler.dense", bias="pooler.dense", rows="first"), (_BLOCK,)),
    Step("pooler", Activate(function="tanh"), ("pooler.dense",)),
)
MLM_STEPS = (
    Step("head.dense", _linear(f"{_TRANSFORM}.dense"), (_BLOCK,)),
    Step("head.activation", Activate("hidden_act"), ("head.dense",)),
    Step("head.norm", Norm(f"{_TRANSFORM}.LayerNorm", "layer_norm_eps"), ("head.activation",)),
    Step("logits", _linear("cls.predictions.decoder"), ("head.norm",)),
)
POOLED_TAPS = BODY_TAPS + POOLER_TAPS
POOLED_STEPS = BODY_STEPS + POOLER_STEPS


def _classes(module: str, of: str, tap: str = "logits") -> Step:
    return Step(tap, _linear(module), (of,))


def _step_of_answer(tap: str, number: int) -> Step:
    part = (number, 2)
    return Step(tap, Project("qa_outputs", bias="qa_outputs", part=part, squeeze=True), (_BLOCK,))


def _size(vocabulary: int, positions: int, width: int, layers: int, heads: int) -> dict[str, int]:
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
    fields=(
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
        Field("pad_token_id", 0),
    ),
    heads={
        "none": Head(
            "none",
            "BertModel",
            "",
            BODY + POOLER,
            taps=POOLED_TAPS,
            steps=POOLED_STEPS,
            inputs=INPUTS,
            targets=(Target("cotangent", "last_hidden_state", "element", "hidden_size"),),
        ),
        "mlm": Head(
            "mlm",
            "BertForMaskedLM",
            "bert.",
            BODY,
            parameters=MLM,
            tied=MLM_TIED,
            taps=(*BODY_TAPS, *MLM_TAPS, LOGITS),
            steps=BODY_STEPS + MLM_STEPS,
            inputs=INPUTS,
            targets=(Target("labels", "logits", classes="vocab_size"),),
            prompts="cloze",
            projection="cls.predictions",
        ),
        "nsp": Head(
            "nsp",
            "BertForNextSentencePrediction",
            "bert.",
            BODY + POOLER,
            parameters=NSP,
            taps=(*POOLED_TAPS, LOGITS),
            steps=(*POOLED_STEPS, _classes("cls.seq_relationship", "pooler")),
            inputs=INPUTS,
            targets=(Target("labels", "logits", "sequence", "2"),),
        ),
        "pretraining": Head(
            "pretraining",
            "BertForPreTraining",
            "bert.",
            BODY + POOLER,
            parameters=MLM + NSP,
            tied=MLM_TIED,
            taps=(
                *POOLED_TAPS,
                *MLM_TAPS,
                Tap("logits", output="prediction_logits"),
                Tap("nsp_logits", output="seq_relationship_logits"),
            ),
            steps=(
                *POOLED_STEPS,
                *MLM_STEPS,
                _classes("cls.seq_relationship", "pooler", "nsp_logits"),
            ),
            inputs=INPUTS,
            targets=(
                Target("labels", "prediction_logits", classes="vocab_size"),
                Target("next_sentence_label", "seq_relationship_logits", "sequence", "2"),
            ),
            prompts="cloze",
            projection="cls.predictions",
        ),
        "sequence-classification": Head(
            "sequence-classification",
            "BertForSequenceClassification",
            "bert.",
            BODY + POOLER,
            parameters=_dense("classifier", "num_labels", "hidden_size"),
            taps=(*POOLED_TAPS, LOGITS),
            steps=(*POOLED_STEPS, _classes("classifier", "pooler")),
            inputs=INPUTS,
            targets=(Target("labels", "logits", "sequence"),),
        ),
        "token-classification": Head(
            "token-classification",
            "BertForTokenClassification",
            "bert.",
            BODY,
            parameters=_dense("classifier", "num_labels", "hidden_size"),
            taps=(*BODY_TAPS, LOGITS),
            steps=(*BODY_STEPS, _classes("classifier", _BLOCK)),
            inputs=INPUTS,
            targets=(Target("labels", "logits"),),
        ),
        "question-answering": Head(
            "question-answering",
            "BertForQuestionAnswering",
            "bert.",
            BODY,
            parameters=_dense("qa_outputs", "num_labels", "hidden_size"),
            taps=(
                *BODY_TAPS,
                Tap("start_logits", output="start_logits"),
                Tap("end_logits", output="end_logits"),
            ),
            steps=(
                *BODY_STEPS,
                _step_of_answer("start_logits", 0),
                _step_of_answer("end_logits", 1),
            ),
            inputs=INPUTS,
            targets=(
                Target("start_positions", "start_logits", "sequence", "positions", weight=0.5),
                Target("end_positions", "end_logits", "sequence", "positions", weight=0.5),
            ),
        ),
    },
    default_head="mlm",
    buffers=(
        Buffer("embeddings.position_ids", "0, 1, 2 …; the network builds it"),
        Buffer("embeddings.token_type_ids", "zeros; the network builds it"),
    ),
    sizes={
        "tiny": _size(vocabulary=512, positions=64, width=64, layers=4, heads=4),
        "base": _size(vocabulary=30522, positions=512, width=768, layers=12, heads=12),
        "large": _size(vocabulary=30522, positions=512, width=1024, layers=24, heads=16),
    },
    sources=(
        "Devlin et al. 2019, arXiv 1810.04805",
        "transformers 5.23.0, models/bert/modeling_bert.py",
    ),
)
