"""What was answered to each item, as JSON lines in the style of lm-evaluation-harness.

The fields are those of its ``--log_samples`` files (``lm_eval/evaluator.py``): one line an item,
one argument and one response per label word. ``scores``, ``margin`` and ``top`` are ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mindport.prompts.plan import Plan
from mindport.prompts.score import Scores, log_softmax
from mindport.prompts.tokenizer import PromptTokenizer

_TOP = 5


def sample_lines(
    plan: Plan,
    scores: Scores,
    rows: np.ndarray,
    prompts: Sequence[str],
    tokenizer: PromptTokenizer,
) -> Iterator[str]:
    """Yield one line of JSON per example.

    Args:
        plan: What was asked.
        scores: What was answered.
        rows: (items, rows of an item, vocabulary), the logits.
        prompts: The rendered prompts, with ``[Z]`` at the place of the answer.
        tokenizer: Reads the likeliest tokens back.
    """
    for item, name in enumerate(plan.ids):
        logs = log_softmax(rows[item].astype(np.float64))  # (rows of an item, vocabulary)
        target = plan.labels[plan.label_indices[item]]
        predicted = int(scores.predictions[item])
        context = prompts[item]
        likeliest = np.argsort(-logs[0], kind="stable")[:_TOP]
        yield json.dumps(
            {
                "doc_id": item,
                "doc": {"id": name, "text": plan.texts[item], "label": target},
                "target": target,
                "arguments": [[context, word.text] for word in plan.words],
                "resps": [[_response(logs, word.steps)] for word in plan.words],
                "filtered_resps": [_response(logs, word.steps) for word in plan.words],
                "filter": "none",
                "metrics": ["acc"],
                "acc": float(predicted == plan.label_indices[item]),
                "doc_hash": _hash(json.dumps([name, plan.texts[item], target])),
                "prompt_hash": _hash(context),
                "target_hash": _hash(target),
                "prediction": plan.labels[predicted],
                "scores": dict(zip(plan.labels, scores.label_scores[item].tolist(), strict=True)),
                "margin": float(scores.margins[item]),
                "top": [
                    [piece, float(logs[0, token])]
                    for piece, token in zip(
                        tokenizer.pieces(likeliest.tolist()), likeliest, strict=True
                    )
                ],
                "truncated": item in plan.truncated_items,
            },
            ensure_ascii=False,
        )


def _response(logs: np.ndarray, steps: Sequence[tuple[int, int]]) -> list[Any]:
    """Return a word's log-probability, and whether each of its tokens is the likeliest."""
    total = float(sum(logs[row, token] for row, token in steps))
    greedy = all(int(logs[row].argmax()) == token for row, token in steps)
    return [total, greedy]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
