"""Faults of the code outside attention, held out."""

from __future__ import annotations

import numpy as np

from mindport.validate.faults import held_out_changes as own
from mindport.validate.faults import needs
from mindport.validate.faults import network_changes as changes
from mindport.validate.faults.fault import (
    ACTIVATION,
    ATTENTION_OUT,
    EMBEDDINGS,
    FIRST_NORM,
    FIRST_SUM,
    MLP_READ,
    OUTER_NORM,
    POST_NORM,
    PRE_NORM,
    SECOND_NORM,
    SECOND_SUM,
    UP,
    Fault,
)
from mindport.validate.faults.rewiring import rewire
from mindport.validate.faults.rounding import BFLOAT16_BITS, HALF_BITS


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def _unbiased(x: np.ndarray, eps: float) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return np.asarray(centred / np.sqrt(x.var(-1, ddof=1, keepdims=True) + eps))


def _divided_by_variance(x: np.ndarray, eps: float) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return np.asarray(centred / (x.var(-1, keepdims=True) + eps))


HELD_OUT_NETWORK: tuple[Fault, ...] = (
    Fault(
        "silu-for-gelu",
        "SiLU stands where GELU should",
        "other-activation",
        "network",
        ACTIVATION,
        changes.replace_activation(lambda x: x * _sigmoid(x)),
    ),
    Fault(
        "quick-gelu",
        "GELU is approximated with a sigmoid",
        "other-activation",
        "network",
        ACTIVATION,
        changes.replace_activation(lambda x: x * _sigmoid(1.702 * x)),
    ),
    Fault(
        "output-projection-missing",
        "the attention's output projection is left out",
        "missing-operation",
        "network",
        ATTENTION_OUT,
        changes.skip_owner,
    ),
    Fault(
        "second-norm-eps",
        "the block's second norm has another eps",
        "norm-eps",
        "network",
        SECOND_NORM,
        changes.set_eps,
        severity=1e-4,
        severities=(1e-1, 1e-2, 1e-3, 1e-4),
    ),
    Fault(
        "outer-norm-eps",
        "the norm outside the blocks has another eps",
        "norm-eps",
        "network",
        OUTER_NORM,
        changes.set_eps,
        per_block=False,
        severity=1e-3,
        severities=(1e-1, 1e-2, 1e-3),
    ),
    Fault(
        "first-norm-unbiased",
        "the block's first norm divides by the unbiased standard deviation",
        "norm-form",
        "network",
        FIRST_NORM,
        changes.replace_norm(_unbiased),
    ),
    Fault(
        "outer-norm-by-variance",
        "the norm outside the blocks divides by the variance, not by its root",
        "norm-form",
        "network",
        OUTER_NORM,
        changes.replace_norm(_divided_by_variance),
        per_block=False,
    ),
    Fault(
        "first-norm-missing",
        "the block's first norm is left out",
        "missing-norm",
        "network",
        FIRST_NORM,
        changes.skip_owner,
    ),
    Fault(
        "second-norm-moved",
        "the second norm stands after its branch instead of before, or before instead of after",
        "norm-placement",
        "network",
        MLP_READ,
        own.move_second_norm,
    ),
    Fault(
        "positions-reversed",
        "positions are counted from the end",
        "position-offset",
        "network",
        EMBEDDINGS,
        changes.change_ids("position_ids", lambda ids, rows: ids[:, ::-1]),
        per_block=False,
    ),
    Fault(
        "positions-left-out",
        "the position embeddings are not added",
        "position-offset",
        "network",
        EMBEDDINGS,
        own.leave_table_out("position_ids"),
        per_block=False,
    ),
    Fault(
        "ids-one-less",
        "every token id is one too low",
        "token-offset",
        "network",
        EMBEDDINGS,
        changes.change_ids("input_ids", lambda ids, rows: np.maximum(ids - 1, 0)),
        per_block=False,
    ),
    Fault(
        "token-types-left-out",
        "the token type embeddings are not added",
        "token-types-ignored",
        "network",
        EMBEDDINGS,
        own.leave_table_out("token_type_ids"),
        per_block=False,
        needs=needs.token_types,
    ),
    Fault(
        "embeddings-scaled",
        "the token embeddings are multiplied by the root of the width",
        "scaled",
        "network",
        EMBEDDINGS,
        own.scale_embeddings,
        per_block=False,
    ),
    Fault(
        "second-residual-missing",
        "the block's second residual is left out",
        "missing-residual",
        "network",
        SECOND_SUM,
        rewire(pre_norm={"output": lambda v: v["mlp"]}, post_norm={"sum": lambda v: v["mlp"]}),
    ),
    Fault(
        "residual-on-other-side-of-norm",
        "a residual is taken on the other side of the norm",
        "other-input",
        "network",
        {PRE_NORM: "block.{i}.residual", POST_NORM: "block.{i}.sum"},
        rewire(
            pre_norm={"residual": lambda v: v["norm_1"] + v["attention"]},
            post_norm={"sum": lambda v: v["residual"] + v["mlp"]},
        ),
    ),
    Fault(
        "pooler-reads-last",
        "the pooler reads the last position",
        "other-input",
        "network",
        "pooler.dense",
        own.read_last_token,
        per_block=False,
    ),
    Fault(
        "embeddings-dropout-on",
        "the dropout of the embeddings is on",
        "dropout-on",
        "network",
        "embeddings",
        changes.leave_dropout_on("embeddings-dropout"),
        per_block=False,
        severity=0.02,
        severities=(0.5, 0.1, 0.02),
    ),
    Fault(
        "up-short-operands",
        "the feed-forward network's first product takes TF32 (10 bits) or bfloat16 (7 bits)",
        "reduced-precision",
        "network",
        UP,
        own.round_operands,
        severity=HALF_BITS,
        severities=(5, 7, 10),
    ),
    Fault(
        "residual-stream-short",
        "the residual stream is kept in bfloat16 (7 bits) or float16 (10 bits)",
        "reduced-precision",
        "network",
        FIRST_SUM,
        own.round_sum,
        severity=BFLOAT16_BITS,
        severities=(5, 7, 10),
    ),
)
