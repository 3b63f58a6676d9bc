"""Faults of the backward pass: the forward stays bit for bit what it was, so that no tap tells.

They are kept apart from the others, since only ``--gradients`` shows them.
"""

from __future__ import annotations

from typing import Any

from mindport.validate.faults.fault import (
    CONTEXT,
    DOWN,
    EMBEDDINGS,
    FIRST_SUM,
    QUERY,
    SECOND_NORM,
    SECOND_SUM,
    Fault,
)
from mindport.validate.faults.network import NetworkSite
from mindport.validate.faults.rewiring import rewire


def _stop(site: NetworkSite, value: Any) -> Any:
    return site.mindspore.ops.stop_gradient(value)


def _detach_first_residual(site: NetworkSite) -> None:
    rewire(
        pre_norm={"residual": lambda v: _stop(site, v["previous"]) + v["attention"]},
        post_norm={"residual": lambda v: v["projection"] + _stop(site, v["previous"])},
    )(site)


def _detach_second_residual(site: NetworkSite) -> None:
    rewire(
        pre_norm={"output": lambda v: _stop(site, v["residual"]) + v["mlp"]},
        post_norm={"sum": lambda v: v["mlp"] + _stop(site, v["attention"])},
    )(site)


def _detach_output(site: NetworkSite) -> None:
    site.change_output(lambda x: _stop(site, x))


def _scale_gradient(site: NetworkSite) -> None:
    factor = site.amount - 1
    # What is added is zero, but not its derivative.
    site.change_output(lambda x: x + factor * (x - _stop(site, x)))


def _detach_weights(site: NetworkSite) -> None:
    cell = site.cell("attention")

    def after(result: Any, query: Any, key: Any, value: Any, bias: Any) -> Any:
        _, scores, weights = result
        return cell.mix(_stop(site, weights), value), scores, weights

    site.wrap(cell, after=after)


def _detach_words(site: NetworkSite) -> None:
    site.wrap(site.table("input_ids"), after=lambda rows, *_: _stop(site, rows))


def _detach_scale_of_norm(site: NetworkSite) -> None:
    norm = site.owner()
    site.replace(norm, lambda x: norm.layer_norm(x, _stop(site, norm.gamma), norm.beta)[0])


BACKWARD_FAULTS: tuple[Fault, ...] = (
    Fault(
        "first-residual-detached",
        "no gradient flows through the residual of the attention",
        "",
        "backward",
        FIRST_SUM,
        _detach_first_residual,
    ),
    Fault(
        "second-residual-detached",
        "no gradient flows through the residual of the feed-forward network",
        "",
        "backward",
        SECOND_SUM,
        _detach_second_residual,
    ),
    Fault(
        "query-detached",
        "no gradient flows through the query",
        "",
        "backward",
        QUERY,
        _detach_output,
    ),
    Fault(
        "weights-detached",
        "no gradient flows through the softmax of the attention",
        "",
        "backward",
        CONTEXT,
        _detach_weights,
    ),
    Fault(
        "gradient-scaled",
        "the gradient that goes into the feed-forward network is scaled",
        "",
        "backward",
        DOWN,
        _scale_gradient,
        severity=2.0,
        severities=(2.0, 1.1, 1.01, 1.001, 1.0001, 1.00001),
    ),
    Fault(
        "words-detached",
        "the word embeddings get no gradient of their own",
        "",
        "backward",
        EMBEDDINGS,
        _detach_words,
        per_block=False,
    ),
    Fault(
        "norm-scale-detached",
        "the scale of the block's second norm gets no gradient",
        "",
        "backward",
        SECOND_NORM,
        _detach_scale_of_norm,
    ),
)
