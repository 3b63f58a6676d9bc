"""Faults of the attention's code, held out."""

from __future__ import annotations

from typing import Any

import numpy as np

from mindport.validate.faults import held_out_changes as own
from mindport.validate.faults import needs
from mindport.validate.faults import network_changes as changes
from mindport.validate.faults.fault import (
    CONTEXT,
    SCORES,
    WEIGHTS,
    Fault,
)
from mindport.validate.faults.network import NetworkSite


def _leaky_softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(raised / (1 + raised.sum(-1, keepdims=True)))


def _softmax_with(site: NetworkSite, function: Any) -> None:
    changes.remake_weights(site.on_arrays(changes.in_float64(function)))(site)


def _round_softmax(site: NetworkSite) -> None:
    cell_softmax = site.mindspore.ops.softmax
    of_tensor = site.on_arrays(own.round_weights_of_attention)
    changes.remake_weights(lambda scores: of_tensor(cell_softmax(scores, -1)))(site)


def _softmax_over_heads(site: NetworkSite) -> None:
    changes.remake_weights(lambda scores: site.mindspore.ops.softmax(scores, 1))(site)


HELD_OUT_ATTENTION: tuple[Fault, ...] = (
    Fault(
        "scores-scaled-twice",
        "the scores are divided by head_dim",
        "attention-scale",
        "network",
        SCORES,
        changes.scale_scores(lambda head_dim: 1 / head_dim),
    ),
    Fault(
        "scores-scaled-by-two-head-dims",
        "the scores are divided by the root of twice head_dim",
        "attention-scale",
        "network",
        SCORES,
        changes.scale_scores(lambda head_dim: float((2 * head_dim) ** -0.5)),
    ),
    Fault(
        "causal-mask-hides-self",
        "a query does not see its own token",
        "causal-mask",
        "network",
        SCORES,
        changes.change_mask(
            lambda padding, later: changes.hide(
                padding | later | np.eye(later.shape[-1], dtype=bool)
            )
        ),
        needs=needs.causal,
    ),
    Fault(
        "causal-mask-turned-round",
        "a query sees itself and what comes after it",
        "causal-mask",
        "network",
        SCORES,
        changes.change_mask(lambda padding, later: changes.hide(padding | later.swapaxes(2, 3))),
        needs=needs.causal,
    ),
    Fault(
        "padding-mask-shifted",
        "the padding mask is one place too far to the left",
        "padding-mask",
        "network",
        SCORES,
        changes.change_mask(
            lambda padding, later: changes.hide(np.roll(padding, -1, axis=-1) | later)
        ),
    ),
    Fault(
        "mask-negated",
        "the mask is subtracted",
        "mask-sign",
        "network",
        SCORES,
        changes.change_mask(
            lambda padding, later: np.where(padding | later, np.finfo(np.float32).max, 0.0)
        ),
    ),
    Fault(
        "mask-too-weak",
        "hidden keys get a minus one instead of minus infinity",
        "mask-sign",
        "network",
        SCORES,
        changes.change_mask(lambda padding, later: np.where(padding | later, -1.0, 0.0)),
    ),
    Fault(
        "heads-split-without-transpose",
        "the heads are cut out by a reshape alone",
        "head-split-order",
        "network",
        SCORES,
        own.split_without_transpose,
    ),
    Fault(
        "heads-merged-without-transpose",
        "the heads are put together by a reshape alone",
        "head-split-order",
        "network",
        CONTEXT,
        own.merge_without_transpose,
    ),
    Fault(
        "softmax-over-heads",
        "the softmax runs over the heads",
        "softmax-axis",
        "network",
        WEIGHTS,
        _softmax_over_heads,
    ),
    Fault(
        "softmax-plus-one",
        "the softmax has one too many in its denominator",
        "softmax-axis",
        "network",
        WEIGHTS,
        lambda site: _softmax_with(site, _leaky_softmax),
    ),
    Fault(
        "weights-dropout-on",
        "the dropout of the attention's weights is on",
        "dropout-on",
        "network",
        CONTEXT,
        own.drop_weights,
        severity=0.1,
        severities=(0.5, 0.1, 0.01),
    ),
    Fault(
        "softmax-short",
        "the softmax gives bfloat16",
        "reduced-precision",
        "network",
        WEIGHTS,
        _round_softmax,
    ),
)
