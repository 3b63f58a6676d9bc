"""What the plan of a prompt run saves, against one full forward per prompt and label word.

    python benchmarks/prompts.py --rounds 3

A full-size GPT-2 with random weights answers prompts of about 60 shared tokens (demonstrations)
and 40 to 120 of their own, on torch and on MindSpore in one process. The two variants take turns in
random order, so that a busy moment of the machine meets both; only ratios are printed, of wall
time and of processor time. Both give the same rows; the greatest difference is printed too.

The plan is made of all questions, as in a real run, so that its batches hold prompts of similar
length. A round runs some of its batches; of each the other variant runs the prompt of middle
length, counted for the whole batch. The shared tokens run once in every round, for these few
batches alone, which is counted against the plan.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mindport.migrate.architectures import load_architecture
from mindport.prompts import (
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
    # Three tokens each in the embedded vocabulary, all beginning differently.
    "three tokens": Verbalizer(
        {"negative": ["bad for me", "just so so"], "positive": ["good for me", "great for all"]}
    ),
}
SHARED = 60  # tokens of demonstrations, about
OWN = (40, 120)  # tokens of each question


@dataclass(frozen=True)
class Sample:
    """What a round runs of a plan.

    Attributes:
        plan: The whole.
        items: Of some of its batches: the planned variant runs these.
        probes: The prompt of middle length of each: the other variant runs these.
    """

    plan: Plan
    items: tuple[int, ...]
    probes: tuple[int, ...]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=2, help="of the plan, run in every round")
    parser.add_argument("--size", default="base", help="of the random GPT-2")
    parser.add_argument("--mode", default="graph", choices=["eager", "graph"], help="of MindSpore")
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="by default both")
    parser.add_argument("--words", action="append", choices=[*VERBALIZERS], help="by default all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        folder = make_checkpoint(Path(scratch), options.size)
        tokenizer = PromptTokenizer.from_folder(folder)
        samples = {
            name: choose(make_plan(tokenizer, VERBALIZERS[name]), options.batches)
            for name in options.words or VERBALIZERS
        }
        for name, sample in samples.items():
            own = [int(n) for batch in sample.plan.batches for n in batch.lengths]
            print(
                f"{name}: {len(sample.plan)} prompts of {sample.plan.prefix.size} shared and "
                f"{min(own)} to {max(own)} own tokens, {len(sample.plan.words)} words; a round "
                f"runs {len(sample.items)} of them, {len(sample.probes)} one by one"
            )
        models = {
            backend: load_model(
                "gpt2", str(folder), backend=backend,
                mode=options.mode if backend == "mindspore" else "eager",
            )[0]
            for backend in options.backend or BACKENDS
        }  # fmt: skip
        print(
            f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {options.rounds} rounds; "
            f"MindSpore in {options.mode} mode\n\n"
            "| | words | times faster than one forward per | wall, min / median / max "
            "| processor | aim | greatest difference |\n|---|---|---|---|---|---|---|"
        )
        for backend, model in models.items():
            for name, sample in samples.items():
                for line in measure(sample, model, options.rounds):
                    print(f"| {backend} | {name} | {line} |", flush=True)
        print(f"\nload at the end {os.getloadavg()[0]:.1f}")


def make_checkpoint(work: Path, size: str) -> Path:
    """Write a random GPT-2 with the tokenizer of the embedded one."""
    gpt2 = load_architecture("gpt2")
    folder = random_checkpoint(gpt2, ReferenceChoice("random", None, size, "lm", 0), work / "w")
    embedded = embedded_checkpoint("gpt2")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        if (embedded / name).exists():
            shutil.copy(embedded / name, folder / name)
    return folder


def make_plan(tokenizer: PromptTokenizer, verbalizer: Verbalizer) -> Plan:
    """Return the plan of 200 questions behind demonstrations, of the sentiment task's texts."""
    task = load_task("sentiment")
    drawn = random.Random(0)  # noqa: S311
    rows = list(task.read_data())
    questions = []
    for row in rows:  # reviews are joined until the question is as long as was drawn
        wanted, text = drawn.randint(*OWN), row.text
        while len(tokenizer.encode(text)) < wanted:
            text += " " + drawn.choice(rows).text
        words = text.split()
        while len(tokenizer.encode(" ".join(words))) > wanted:
            words.pop()
        questions.append(replace(row, text=" ".join(words)))
    pool = PromptDataset.from_file(Path(task.data.path).with_name("sentiment-shots.jsonl"))
    shots: list[InputExample] = []
    count = 0
    for example in pool:
        if count < SHARED - 4:
            shots.append(example)
            count += len(tokenizer.encode(f"{example.text} It was good\n"))
    return PromptDataLoader(
        PromptDataset(tuple(questions), "sentiment"),
        Template("[X] It was [Z]"),
        verbalizer,
        tokenizer,
        max_seq_length=1024,
        batch_size=8,
        shots=Shots(tuple(shots)),
    ).plan


def choose(plan: Plan, batches: int) -> Sample:
    """Take batches from the middles of equal parts of the plan."""
    places = [int((k + 0.5) * len(plan.batches) / batches) for k in range(batches)]
    taken = [plan.batches[place] for place in places]
    return Sample(
        plan,
        tuple(int(item) for batch in taken for item in batch.items),
        tuple(int(batch.items[len(batch.items) // 2]) for batch in taken),
    )


def measure(sample: Sample, model: PromptModel, rounds: int) -> Iterator[str]:
    """Yield how many times faster the plan is, and how far the rows are apart, as lines."""
    plan, probes = sample.plan, sorted(sample.probes)
    variants: dict[str, Callable[[], np.ndarray]] = {
        "planned": lambda: run_plan(plan, model, items=sample.items),
        "naive": lambda: run_naive(sample, model),
    }
    rows = {name: run() for name, run in variants.items()}  # compiles, and warms caches
    order = sorted(sample.items)
    probed = rows["planned"][[order.index(item) for item in probes]]
    apart = float(np.abs(rows["naive"] - probed).max())
    ratios = []  # of wall time and of processor time
    for number in range(rounds):
        seconds = {}
        for name in random.sample(sorted(variants), len(variants)):
            started, used = time.perf_counter(), time.process_time()
            variants[name]()
            seconds[name] = (time.perf_counter() - started, time.process_time() - used)
        more = len(sample.items) / len(probes)
        pairs = zip(seconds["naive"], seconds["planned"], strict=True)
        ratios.append([more * naive / planned for naive, planned in pairs])
        print(f"round {number + 1} of {rounds}: {ratios[-1]}", file=sys.stderr, flush=True)
    aim = AIMS["three tokens" if plan.continuations else "one token"]
    if plan.continuations:
        counts = {"prompt and word": 1}
    else:  # the forward that was measured once would be the same for every word
        counts = {"prompt and word": len(plan.words), "prompt": 1}
    for name, times in counts.items():
        shown = [spread([times * ratio[kind] for ratio in ratios]) for kind in (0, 1)]
        wanted = f"{aim:g}" if name == "prompt and word" else ""
        yield " | ".join([name, *shown, wanted, f"{apart:.1e}"])


def spread(values: list[float]) -> str:
    """Return min / median / max."""
    return f"{min(values):.2f} / {statistics.median(values):.2f} / {max(values):.2f}"


def run_naive(sample: Sample, model: PromptModel) -> np.ndarray:
    """Return the rows of the probes from one full forward per word, all logits of each.

    Words of one token are all read from the same forward, so it runs once.
    """
    plan, order = sample.plan, sorted(sample.probes)
    result: np.ndarray | None = None
    for batch in plan.batches:
        for place, item in enumerate(batch.items):
            if int(item) not in sample.probes:
                continue
            own = batch.input_ids[place, : batch.lengths[place]]
            prompt = np.concatenate([plan.prefix, own])
            for word in plan.words if plan.continuations else plan.words[:1]:
                beginning = [token for _, token in word.steps[:-1]]
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
                    shape = (len(order), plan.rows_per_item, rows.shape[-1])
                    result = np.zeros(shape, np.float32)
                for step, (row, _) in enumerate(word.steps):
                    result[order.index(int(item)), row] = rows[0, len(prompt) - 1 + step]
    if result is None:
        raise ValueError("the plan has no prompts")
    return result


if __name__ == "__main__":
    main()
