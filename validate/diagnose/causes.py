"""The causes that a diagnosis can name: one identifier each, and what it means."""

from __future__ import annotations

from collections.abc import Mapping

UNKNOWN = "unknown"
CAUSES: Mapping[str, str] = {
    # weights
    "transposed-weight": "the matrix is stored in the other order (in, out) or (out, in)",
    "swapped-projections": "query, key and value, or two other projections, stand in each other's"
    " place",
    "fused-order": "the fused query/key/value matrix is cut in another order, by head say",
    "head-split-order": "the width is split into heads in another order",
    "other-layer": "the parameters of another layer stand here",
    "missing-bias": "the bias, or the shift of a norm, is left out or zero",
    "changed-bias": "the bias, or the shift of a norm, has other values",
    "changed-weight": "a part of the matrix or table, or all of it by little, has other values",
    "random-weight": "the matrix or table has nothing to do with the checkpoint's: it was not"
    " loaded",
    "scaled": "the result, or the matrix, is multiplied by a constant",
    "swapped-norm-parameters": "scale and shift of the norm stand in each other's place",
    "missing-norm-weight": "the scale of the norm is left out or one",
    "untied-head": "the head has a matrix of its own instead of the embeddings'",
    # arithmetic
    "other-activation": "another activation function (exact or tanh GELU, ReLU, SiLU …)",
    "norm-eps": "the norm adds another eps to the variance",
    "norm-form": "the norm is of another form (no mean, the unbiased variance …)",
    "attention-scale": "the scores are not multiplied by 1/sqrt(head_dim)",
    "causal-mask": "the causal mask is missing, shifted or turned round",
    "padding-mask": "padded positions are attended, or real ones hidden",
    "mask-sign": "the mask is added with the wrong sign or as a plain 0/1 number",
    "softmax-axis": "the softmax runs over another axis, or the weights do not sum to one",
    "position-offset": "other positions are looked up: shifted, reversed or missing",
    "token-offset": "other tokens are looked up: ids shifted, or a row left out",
    "token-types-ignored": "the segments (token types) are ignored",
    "norm-placement": "a norm stands before instead of after its neighbour, or after instead of"
    " before",
    "missing-norm": "a norm is left out",
    "missing-residual": "a residual connection is left out",
    "missing-operation": "an operation is left out: its result is its input",
    "other-input": "the operation reads another tap than it should",
    "dropout-on": "dropout is on",
    "reduced-precision": "weights or values are rounded to a shorter format on the way",
    # none of these
    UNKNOWN: "none of the tested causes explains it",
}
