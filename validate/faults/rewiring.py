"""Blocks that are wired in another way: residuals left out, norms moved, other inputs.

What a block returns must stay as our networks have it, in the order of the architecture's taps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mindport.validate.faults.network import NetworkSite

Change = Callable[[NetworkSite], None]
Values = dict[str, Any]  # of the block so far, by the last part of their taps; and "previous"
Source = Callable[[Values], Any]  # what an operation reads, or what a sum comes to

_GPT2: Mapping[str, Source] = {
    "norm_1": lambda v: v["previous"],
    "query": lambda v: v["norm_1"],
    "residual": lambda v: v["previous"] + v["attention"],
    "norm_2": lambda v: v["residual"],
    "up": lambda v: v["norm_2"],
    "output": lambda v: v["residual"] + v["mlp"],
}
_BERT: Mapping[str, Source] = {
    "query": lambda v: v["previous"],
    "residual": lambda v: v["previous"] + v["projection"],
    "attention": lambda v: v["residual"],
    "up": lambda v: v["attention"],
    "sum": lambda v: v["attention"] + v["mlp"],
    "output": lambda v: v["sum"],
}


def rewire(gpt2: Mapping[str, Source], bert: Mapping[str, Source]) -> Change:
    """Return what lets some operations of a block read something else.

    Args:
        gpt2: What norm_1, query (with key and value), norm_2 and up read, and what residual and
            output come to, where that differs from the right block.
        bert: What query, attention (a norm), up and output (a norm) read, and what residual and
            sum come to.
    """

    def change(site: NetworkSite) -> None:
        block = site.cell("block")
        if site.architecture.name == "gpt2":
            site.replace(block, _gpt2_block(block, {**_GPT2, **gpt2}))
        else:
            site.replace(block, _bert_block(block, {**_BERT, **bert}))

    return change


def _gpt2_block(block: Any, reads: Mapping[str, Source]) -> Callable[..., Any]:
    def construct(hidden: Any, bias: Any, past: Any = None, source: Any = None) -> Any:
        v: Values = {"previous": hidden}
        v["norm_1"] = block.ln_1(reads["norm_1"](v))
        v["attention"], present, inner = block.attn(reads["query"](v), bias, past, source)
        v["residual"] = reads["residual"](v)
        v["norm_2"] = block.ln_2(reads["norm_2"](v))
        v["mlp"], up, activation = block.mlp(reads["up"](v))
        output = reads["output"](v)
        taps = (v["norm_1"], *inner, v["attention"], v["residual"], v["norm_2"], up, activation)
        return output, present, (*taps, v["mlp"], output)

    return construct


def _bert_block(block: Any, reads: Mapping[str, Source]) -> Callable[..., Any]:
    def construct(hidden: Any, bias: Any) -> Any:
        v: Values = {"previous": hidden}
        context, inner = block.attention.self(reads["query"](v), bias)
        v["projection"] = block.attention.output.dense(context)
        v["residual"] = reads["residual"](v)
        v["attention"] = block.attention.output.LayerNorm(reads["attention"](v))
        activation, up = block.intermediate(reads["up"](v))
        v["mlp"] = block.output.dense(activation)
        v["sum"] = reads["sum"](v)
        output = block.output.LayerNorm(reads["output"](v))
        taps = (*inner, v["projection"], v["residual"], v["attention"], up, activation)
        return output, (*taps, v["mlp"], v["sum"], output)

    return construct


def move_norms(site: NetworkSite) -> None:
    """Norm after the residual where the norm stands before the branch, or the reverse."""
    block = site.cell("block")
    moved = _post_norm_gpt2 if site.architecture.name == "gpt2" else _pre_norm_bert
    site.replace(block, moved(block))


def _post_norm_gpt2(block: Any) -> Callable[..., Any]:
    def construct(hidden: Any, bias: Any, past: Any = None, source: Any = None) -> Any:
        attention, present, inner = block.attn(hidden, bias, past, source)
        residual = hidden + attention
        norm_1 = block.ln_1(residual)
        mlp, up, activation = block.mlp(norm_1)
        norm_2 = block.ln_2(norm_1 + mlp)
        taps = (norm_1, *inner, attention, residual, norm_2, up, activation, mlp, norm_2)
        return norm_2, present, taps

    return construct


def _pre_norm_bert(block: Any) -> Callable[..., Any]:
    def construct(hidden: Any, bias: Any) -> Any:
        first, second = block.attention.output, block.output
        context, inner = block.attention.self(first.LayerNorm(hidden), bias)
        projection = first.dense(context)
        residual = hidden + projection
        activation, up = block.intermediate(second.LayerNorm(residual))
        mlp = second.dense(activation)
        output = residual + mlp
        taps = (*inner, projection, residual, residual, up, activation, mlp, output, output)
        return output, taps

    return construct
