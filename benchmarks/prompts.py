"""What the plan of a prompt run saves, against one full forward per prompt and label word.

    python benchmarks/prompts.py --rounds 3 --items 16

A full-size GPT-2 with random weights, demonstrations before every question, on torch and on
MindSpore in one process. The variants take turns prompt by prompt batch, in random order, so that
a busy moment of the machine meets all of them; only ratios are printed. Both variants give the
same rows; the greatest difference is printed too.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mindport.migrate.architectures import load_architecture
from mindport.prompts import (
    FewShotSampler,
    InputExample,
    Plan,
    PromptDataLoader,
    PromptDataset,
    PromptModel,
    PromptTokenizer,
    Shots,
    Template,
    Verbalizer,
    load_task,
    run_plan,
)
from mindport.validate.checkpoints import ReferenceChoice, embedded_checkpoint, random_checkpoint
from mindport.validate.prompting.models import load_model

BACKENDS = ("torch", "mindspore")
AIMS = {"one token": 3.0, "three tokens": 5.0}
VERBALIZERS = {
    "one token": Verbalizer({"negative": ["bad", "terrible"], "positive": ["good", "great"]}),
    # Four labels of three tokens each in the embedded vocabulary, all beginning differently.
    "three tokens": Verbalizer(
        {"a": ["bad for me"], "b": ["good for me"], "c": ["great for all"], "d": ["just so so"]}
    ),
}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=16, help="questions per round")
    parser.add_argument("--shots", type=int, default=6)
    parser.add_argument("--size", default="base", help="of the random GPT-2")
    parser.add_argument("--mode", default="graph", help="of MindSpore")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        folder = make_checkpoint(Path(scratch), options.size)
        tokenizer = PromptTokenizer.from_folder(folder)
        plans = {
            name: make_question(tokenizer, verbalizer, options.items, options.shots)
            for name, verbalizer in VERBALIZERS.items()
        }
        for name, plan in plans.items():
            lengths = [plan.prefix.size + int(n) for b in plan.batches for n in b.lengths]
            print(
                f"{name}: {len(plan)} prompts of {min(lengths)} to {max(lengths)} tokens, "
                f"{plan.prefix.size} of them shared; {len(plan.words)} words"
            )
        models = {
            backend: load_model(
                "gpt2", str(folder), backend=backend,
                mode=options.mode if backend == "mindspore" else "eager",
            )[0]
            for backend in BACKENDS
        }  # fmt: skip
        print("\n| | words | times faster: min / median / max | aim | greatest difference |")
        print("|---|---|---|---|---|")
        for backend, model in models.items():
            for name, plan in plans.items():
                ratios, apart = measure(plan, model, options.rounds)
                spread = " / ".join(
                    f"{value:.2f}"
                    for value in (min(ratios), statistics.median(ratios), max(ratios))
                )
                print(f"| {backend} | {name} | {spread} | {AIMS[name]:g} | {apart:.1e} |")


def make_checkpoint(work: Path, size: str) -> Path:
    """Write a random GPT-2 with the tokenizer of the embedded one."""
    gpt2 = load_architecture("gpt2")
    folder = random_checkpoint(gpt2, ReferenceChoice("random", None, size, "lm", 0), work / "w")
    embedded = embedded_checkpoint("gpt2")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        shutil.copy(embedded / name, folder / name)
    return folder


def make_question(
    tokenizer: PromptTokenizer, verbalizer: Verbalizer, items: int, shots: int
) -> Plan:
    """Return the plan of some sentiment rows behind demonstrations."""
    task = load_task("sentiment")
    sampler = FewShotSampler(num_examples_total=shots)
    labels = verbalizer.labels
    relabel = {"negative": labels[0], "positive": labels[1]}

    def renamed(example: InputExample) -> InputExample:
        return InputExample(example.id, example.text, relabel[example.label])

    drawn = tuple(renamed(example) for example in task.draw_shots(sampler).examples)
    data = PromptDataset(tuple(map(renamed, task.read_data().take(items))), "sentiment")
    loader = PromptDataLoader(
        data,
        Template("[X] It was [Z]"),
        verbalizer,
        tokenizer,
        max_seq_length=1024,
        batch_size=8,
        shots=Shots(drawn),
    )
    return loader.plan


def measure(plan: Plan, model: PromptModel, rounds: int) -> tuple[list[float], float]:
    """Return how many times faster the plan is, by round, and how far the rows are apart."""
    variants: dict[str, Callable[[], np.ndarray]] = {
        "planned": lambda: run_plan(plan, model),
        "naive": lambda: run_naive(plan, model),
    }
    rows = {name: run() for name, run in variants.items()}  # compiles, and warms caches
    apart = float(np.abs(rows["planned"] - rows["naive"]).max())
    ratios = []
    for _ in range(rounds):
        seconds = {}
        for name in random.sample(sorted(variants), len(variants)):
            started = time.perf_counter()
            variants[name]()
            seconds[name] = time.perf_counter() - started
        ratios.append(seconds["naive"] / seconds["planned"])
    return ratios, apart


def run_naive(plan: Plan, model: PromptModel) -> np.ndarray:
    """Return the plan's rows from one forward per prompt and word, all logits of each.

    A label word of one token needs no forward of its own: one per prompt serves all, which is
    already kind to this variant.
    """
    result: np.ndarray | None = None
    for batch in plan.batches:
        for place, item in enumerate(batch.items):
            own = batch.input_ids[place, : batch.lengths[place]]
            prompt = np.concatenate([plan.prefix, own])
            whole = {tuple(token for _, token in word.steps[:-1]): word for word in plan.words}
            for beginning, word in whole.items():
                ids = np.concatenate([prompt, np.array(beginning, np.int64)])[None]
                count = ids.shape[1]
                fed = {
                    "input_ids": ids,
                    "position_ids": np.arange(count, dtype=np.int64)[None],
                    "token_type_ids": np.zeros_like(ids),
                    "attention_mask": np.ones_like(ids),
                }
                rows, _ = model.answer(fed, np.arange(count, dtype=np.int64)[None])
                if result is None:
                    shape = (plan.items, plan.rows_per_item, rows.shape[-1])
                    result = np.zeros(shape, np.float32)
                for step, (row, _) in enumerate(word.steps):
                    result[item, row] = rows[0, len(prompt) - 1 + step]
    if result is None:
        raise ValueError("the plan has no prompts")
    return result


if __name__ == "__main__":
    main()
