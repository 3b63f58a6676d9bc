"""Rebuild the embedded models: `python train.py --data DIR --out DIR [--only gpt2|bert]`.

Each model is a small network trained from nothing: first on plain text, then on the prompts of
its language's tasks together with some plain text. The step at which training ends is fixed;
the held-out rows are looked at once, when it has ended.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import card
import torch
import vocabulary
from course import COURSES, Course, Plan
from data import SEED
from feeding import Lesson, mask_tokens, token_stream
from prompting import ClozePrompter, Model, PrefixPrompter, Prompter, accuracy
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel


class Family(ABC):
    """What differs between the two architectures."""

    name: str
    plan: Plan
    prompter: Prompter
    model: Model
    stream: Tensor

    @abstractmethod
    def __init__(self, course: Course) -> None: ...

    @abstractmethod
    def text_loss(self, ids: Tensor) -> Tensor:
        """Return the loss on a run of plain text."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the tokenizer's files."""


class Gpt2(Family):
    """A causal language model with a byte-level BPE vocabulary."""

    name = "gpt2"

    def __init__(self, course: Course) -> None:
        self.plan = course.plans[self.name]
        tokenizer = vocabulary.train_bpe(course.texts(), course.size)
        self.prompter = PrefixPrompter(tokenizer, pad=vocabulary.END)
        end = self.prompter.pad
        self.model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=tokenizer.get_vocab_size(),
                n_positions=vocabulary.POSITIONS,
                n_embd=128,
                n_layer=self.plan.layers,
                n_head=4,
                n_inner=512,
                bos_token_id=end,
                eos_token_id=end,
            )
        )
        self.stream = token_stream(self.prompter, course.unlabelled, end)

    def text_loss(self, ids: Tensor) -> Tensor:
        """Predict every next token."""
        logits = self.model(ids).logits
        return cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())

    def save(self, folder: Path) -> None:
        """Write vocab.json, merges.txt and tokenizer.json."""
        vocabulary.save_bpe(self.prompter.tokenizer, folder)


class Bert(Family):
    """A masked language model with an uncased WordPiece vocabulary."""

    name = "bert"

    def __init__(self, course: Course) -> None:
        self.plan = course.plans[self.name]
        tokenizer = vocabulary.train_wordpiece(course.texts(), course.size)
        self.prompter = ClozePrompter(tokenizer, pad="[PAD]")
        self.size, self.mask = tokenizer.get_vocab_size(), self.prompter.token("[MASK]")
        self.model = BertForMaskedLM(
            BertConfig(
                vocab_size=self.size,
                max_position_embeddings=vocabulary.POSITIONS,
                hidden_size=128,
                num_hidden_layers=self.plan.layers,
                num_attention_heads=4,
                intermediate_size=512,
            )
        )
        separator = self.prompter.token("[SEP]")
        self.stream = token_stream(self.prompter, course.unlabelled, separator)
        self.edges = torch.tensor([[self.prompter.token("[CLS]")], [separator]])

    def text_loss(self, ids: Tensor) -> Tensor:
        """Predict the hidden tokens."""
        first, last = self.edges.expand(2, len(ids)).unsqueeze(-1)
        framed = torch.cat([first, ids[:, 1:-1], last], dim=1)
        shown, chosen = mask_tokens(framed, self.size, self.mask, len(vocabulary.BERT_SPECIAL))
        states = self.model.bert(shown).last_hidden_state
        return cross_entropy(self.model.cls(states[chosen]), framed[chosen])

    def save(self, folder: Path) -> None:
        """Write vocab.txt and tokenizer.json."""
        vocabulary.save_wordpiece(self.prompter.tokenizer, folder)


def answer_loss(family: Family, lesson: Lesson) -> Tensor:
    """Return the cross-entropy at the answer, over the whole vocabulary."""
    scores = family.prompter.logits(family.model, lesson.batch).log_softmax(dim=-1)
    return -scores.gather(1, lesson.targets).mean()


def set_dropout(model: Model, rate: float) -> None:
    """Set the rate of every dropout, and none on the attention weights (which is slow)."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0 if name.endswith(("attn_dropout", "self.dropout")) else rate


def optimizer_of(model: Model, plan: Plan) -> torch.optim.AdamW:
    """Return AdamW that shrinks the matrices only."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": plan.decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98))


def factor(step: int, total: int, warmup: int) -> float:
    """Rise linearly, then fall along a cosine to a fiftieth."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    return 0.02 + 0.49 * (1 + math.cos(math.pi * done))


def losses(family: Family, course: Course) -> Iterator[dict[str, Tensor]]:
    """Yield the losses of every step."""
    plan, feeder = family.plan, course.feeder(family.prompter)
    texts = feeder.text(family.stream, plan.text_rows, vocabulary.POSITIONS)
    lessons = course.lessons(feeder)
    for _ in range(plan.text_steps):
        yield {"text": family.text_loss(next(texts))}
    for step in range(plan.prompt_steps):
        found = {task: answer_loss(family, next(lesson)) for task, lesson in lessons.items()}
        if step % plan.text_every == 0:
            found["text"] = family.text_loss(next(texts))
        yield found


def fit(family: Family, course: Course) -> Model:
    """Train, and return the running average of the weights."""
    plan = family.plan
    optimizer = optimizer_of(family.model, plan)
    total = plan.text_steps + plan.prompt_steps
    averaged = copy.deepcopy(family.model)
    set_dropout(family.model, plan.dropout)
    family.model.train()
    started = time.process_time()
    for step, found in enumerate(losses(family, course)):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * factor(step, total, plan.warmup)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(list(found.values()))
        nn.utils.clip_grad_norm_(family.model.parameters(), 1.0)
        optimizer.step()
        follow(averaged, family.model, min(plan.average, (step + 1) / (step + 10)))
        if step % 150 == 0 or step == total - 1:
            report(family, averaged, course, step, found, time.process_time() - started)
            family.model.train()
    return averaged


@torch.no_grad()
def follow(averaged: Model, model: Model, keep: float) -> None:
    """Move the averaged weights a little towards the model's."""
    for old, new in zip(averaged.parameters(), model.parameters(), strict=True):
        old.lerp_(new, 1 - keep)


def report(
    family: Family,
    model: Model,
    course: Course,
    step: int,
    found: dict[str, Tensor],
    seconds: float,
) -> None:
    """Print the losses and the accuracy on the development rows."""
    parts = [f"{name} {value.item():.3f}" for name, value in found.items()]
    for name, task in course.tasks.items():
        value = accuracy(model, family.prompter, task.development, name)
        parts.append(f"dev {name} {value:.3f}")
    print(f"{family.name} step {step} cpu {seconds:.0f}s", *parts, flush=True)


def measure(family: Family, model: Model, course: Course) -> dict[str, card.Figure]:
    """Return the accuracy on the shipped rows, all held-out rows and the development rows."""
    figures: dict[str, card.Figure] = {}
    for name, task in course.tasks.items():
        for part in ("shipped", "held_out", "development"):
            rows = getattr(task, part)
            value = accuracy(model, family.prompter, rows, name)
            figures[f"{name}-{part}"] = card.Figure(value, len(rows))
    return figures


def rebuild(kind: type[Family], course: Course, out: Path) -> None:
    """Train one model, measure it, and write its folder."""
    torch.manual_seed(SEED)
    started = time.process_time()
    family = kind(course)
    model = fit(family, course)
    figures = measure(family, model, course)
    folder = out / f"{family.name}{course.suffix}"
    model.eval().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    (folder / "generation_config.json").unlink(missing_ok=True)
    family.save(folder)
    seconds = time.process_time() - started
    text = card.render(folder, family.name, course, figures, seconds, model)
    (folder / "README.md").write_text(text, encoding="utf-8")
    print(folder.name, json.dumps({name: asdict(value) for name, value in figures.items()}))


def main() -> None:
    """Rebuild the embedded models of one language."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the archives")
    parser.add_argument("--out", type=Path, required=True, help="folder of the result")
    parser.add_argument("--language", choices=COURSES, default="en", help="en unless given")
    parser.add_argument("--only", choices=("gpt2", "bert"), help="rebuild one model")
    parser.add_argument("--threads", type=int, default=1, help="threads for torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    course = COURSES[arguments.language](arguments.data)
    for kind in (Gpt2, Bert):
        if arguments.only in (None, kind.name):
            rebuild(kind, course, arguments.out)


if __name__ == "__main__":
    main()
