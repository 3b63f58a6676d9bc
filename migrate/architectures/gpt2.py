"""GPT-2 as ``transformers`` names it (``models/gpt2/modeling_gpt2.py``).

Paper: Radford et al., *Language Models are Unsupervised Multitask Learners*, 2019.
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

BODY = (
    Parameter("wte", Kind.EMBEDDING, ("vocab_size", "n_embd")),
    Parameter("wpe", Kind.EMBEDDING, ("n_positions", "n_embd")),
    Parameter("h.{i}.ln_1", Kind.NORM_WEIGHT, ("n_embd",)),
    Parameter("h.{i}.ln_1", Kind.NORM_BIAS, ("n_embd",)),
    Parameter("h.{i}.attn.c_attn", Kind.CONV1D, ("n_embd", "3*n_embd")),  # q, k, v side by side
    Parameter("h.{i}.attn.c_attn", Kind.BIAS, ("3*n_embd",)),
    Parameter("h.{i}.attn.c_proj", Kind.CONV1D, ("n_embd", "n_embd")),
    Parameter("h.{i}.attn.c_proj", Kind.BIAS, ("n_embd",)),
    Parameter("h.{i}.ln_2", Kind.NORM_WEIGHT, ("n_embd",)),
    Parameter("h.{i}.ln_2", Kind.NORM_BIAS, ("n_embd",)),
    Parameter("h.{i}.mlp.c_fc", Kind.CONV1D, ("n_embd", "n_inner")),
    Parameter("h.{i}.mlp.c_fc", Kind.BIAS, ("n_inner",)),
    Parameter("h.{i}.mlp.c_proj", Kind.CONV1D, ("n_inner", "n_embd")),
    Parameter("h.{i}.mlp.c_proj", Kind.BIAS, ("n_embd",)),
    Parameter("ln_f", Kind.NORM_WEIGHT, ("n_embd",)),
    Parameter("ln_f", Kind.NORM_BIAS, ("n_embd",)),
)

_BLOCK = "block.{i}"
_ATTENTION, _MLP = "h.{i}.attn", "h.{i}.mlp"
BODY_TAPS = (
    Tap("embeddings", module="drop"),
    Tap(f"{_BLOCK}.norm_1", module="h.{i}.ln_1", detail=True),
    Tap(f"{_BLOCK}.query", module=f"{_ATTENTION}.c_attn", part=(0, 3), detail=True),
    Tap(f"{_BLOCK}.key", module=f"{_ATTENTION}.c_attn", part=(1, 3), detail=True),
    Tap(f"{_BLOCK}.value", module=f"{_ATTENTION}.c_attn", part=(2, 3), detail=True),
    Tap(f"{_BLOCK}.scores", module=_ATTENTION, end="softmax-input", detail=True),
    Tap(f"{_BLOCK}.weights", module=_ATTENTION, end="softmax-output", detail=True),
    Tap(f"{_BLOCK}.context", module=f"{_ATTENTION}.c_proj", end="input", detail=True),
    Tap(f"{_BLOCK}.attention", module=_ATTENTION),
    Tap(f"{_BLOCK}.residual", module="h.{i}.ln_2", end="input", detail=True),
    Tap(f"{_BLOCK}.norm_2", module="h.{i}.ln_2", detail=True),
    Tap(f"{_BLOCK}.up", module=f"{_MLP}.c_fc", detail=True),
    Tap(f"{_BLOCK}.activation", module=f"{_MLP}.act", detail=True),
    Tap(f"{_BLOCK}.mlp", module=_MLP),
    Tap(_BLOCK, module="h.{i}"),
    Tap("final_norm", module="ln_f"),
)


def _conv1d(module: str, part: tuple[int, int] = (0, 1)) -> Project:
    return Project(module, Kind.CONV1D, bias=module, part=part)


BODY_STEPS = (
    Step("embeddings", Lookup((("wte", "input_ids"), ("wpe", "position_ids")))),
    Step(f"{_BLOCK}.norm_1", Norm("h.{i}.ln_1", "layer_norm_epsilon"), (PREVIOUS,)),
    *attention_steps(
        f"{_BLOCK}.norm_1",
        (
            _conv1d(f"{_ATTENTION}.c_attn", (0, 3)),
            _conv1d(f"{_ATTENTION}.c_attn", (1, 3)),
            _conv1d(f"{_ATTENTION}.c_attn", (2, 3)),
        ),
        Score("n_head", True, "scale_attn_weights", "scale_attn_by_inverse_layer_idx"),
    ),
    Step(f"{_BLOCK}.attention", _conv1d(f"{_ATTENTION}.c_proj"), (f"{_BLOCK}.context",)),
    Step(f"{_BLOCK}.residual", Add(), (PREVIOUS, f"{_BLOCK}.attention")),
    Step(f"{_BLOCK}.norm_2", Norm("h.{i}.ln_2", "layer_norm_epsilon"), (f"{_BLOCK}.residual",)),
    Step(f"{_BLOCK}.up", _conv1d(f"{_MLP}.c_fc"), (f"{_BLOCK}.norm_2",)),
    Step(f"{_BLOCK}.activation", Activate("activation_function"), (f"{_BLOCK}.up",)),
    Step(f"{_BLOCK}.mlp", _conv1d(f"{_MLP}.c_proj"), (f"{_BLOCK}.activation",)),
    Step(_BLOCK, Add(), (f"{_BLOCK}.residual", f"{_BLOCK}.mlp")),
    Step("final_norm", Norm("ln_f", "layer_norm_epsilon"), (_BLOCK,)),
)

ARCHITECTURE = Architecture(
    name="gpt2",
    title="GPT-2",
    prefix="transformer.",
    layers="n_layer",
    positions="n_positions",
    fields=(
        Field("vocab_size", dimension=True),
        Field("n_positions", dimension=True),
        Field("n_embd", dimension=True),
        Field("n_layer", dimension=True),
        Field("n_head", dimension=True),
        Field("n_inner", "4*n_embd", dimension=True),
        Field("activation_function", "gelu_new", allowed=("gelu_new", "gelu", "relu")),
        Field("layer_norm_epsilon", 1e-5),
        Field("tie_word_embeddings", True, allowed=(True, False)),
        Field("scale_attn_weights", True, allowed=(True, False)),
        Field("scale_attn_by_inverse_layer_idx", False, allowed=(True, False)),
        Field("add_cross_attention", False, allowed=(False,)),
        Field("resid_pdrop", 0.1),
        Field("embd_pdrop", 0.1),
        Field("attn_pdrop", 0.1),
        Field("initializer_range", 0.02),
        Field("bos_token_id", None),
        Field("eos_token_id", None),
        Field("pad_token_id", None),
    ),
    heads={
        "none": Head(
            "none",
            "GPT2Model",
            "",
            BODY,
            taps=BODY_TAPS,
            steps=BODY_STEPS,
            targets=(Target("cotangent", "last_hidden_state", "element", "n_embd"),),
        ),
        "lm": Head(
            "lm",
            "GPT2LMHeadModel",
            "transformer.",
            BODY,
            tied=(
                Tied(
                    Parameter("lm_head", Kind.LINEAR, ("vocab_size", "n_embd")),
                    to="transformer.wte",
                    to_kind=Kind.EMBEDDING,
                    unless="tie_word_embeddings",
                ),
            ),
            taps=(*BODY_TAPS, Tap("logits", output="logits")),
            steps=(*BODY_STEPS, Step("logits", Project("lm_head"), ("final_norm",))),
            prompts="prefix",
            projection="lm_head",
            targets=(Target("labels", "logits", classes="vocab_size", shift=True),),
        ),
        "sequence-classification": Head(
            "sequence-classification",
            "GPT2ForSequenceClassification",
            "transformer.",
            BODY,
            parameters=(Parameter("score", Kind.LINEAR, ("num_labels", "n_embd")),),
            taps=(*BODY_TAPS, Tap("logits", output="logits")),
            steps=(*BODY_STEPS, Step("logits", Project("score", rows="last"), ("final_norm",))),
            pools_last_token=True,
            targets=(Target("labels", "logits", "sequence"),),
        ),
    },
    default_head="lm",
    buffers=(
        Buffer("h.{i}.attn.bias", "the causal mask; the network builds it"),
        Buffer("h.{i}.attn.masked_bias", "the mask's fill value; the network has it"),
    ),
    cells={
        "block": "h.{i}",
        "attention": f"{_ATTENTION}.attention",
        "activation": f"{_MLP}.act",
        "embeddings-dropout": "drop",
        "mlp-dropout": f"{_MLP}.dropout",
    },
    sizes={
        "tiny": {"vocab_size": 512, "n_positions": 64, "n_embd": 64, "n_layer": 4, "n_head": 4},
        "base": {
            "vocab_size": 50257,
            "n_positions": 1024,
            "n_embd": 768,
            "n_layer": 12,
            "n_head": 12,
        },
        "distil": {  # DistilGPT2
            "vocab_size": 50257,
            "n_positions": 1024,
            "n_embd": 768,
            "n_layer": 6,
            "n_head": 12,
        },
        "medium": {
            "vocab_size": 50257,
            "n_positions": 1024,
            "n_embd": 1024,
            "n_layer": 24,
            "n_head": 16,
        },
        "large": {
            "vocab_size": 50257,
            "n_positions": 1024,
            "n_embd": 1280,
            "n_layer": 36,
            "n_head": 20,
        },
        "xl": {
            "vocab_size": 50257,
            "n_positions": 1024,
            "n_embd": 1600,
            "n_layer": 48,
            "n_head": 25,
        },
    },
    sources=(
        "Radford et al. 2019, Language Models are Unsupervised Multitask Learners",
        "transformers 5.23.0, models/gpt2/modeling_gpt2.py",
    ),
)
