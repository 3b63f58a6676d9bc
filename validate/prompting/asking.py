"""What a checkpoint is asked: its tokenizer and a task make a plan."""

from __future__ import annotations

from dataclasses import dataclass

from mindport.migrate.errors import MindportError
from mindport.migrate.porting import Prepared
from mindport.migrate.positions import longest_sequence
from mindport.prompts import (
    FewShotSampler,
    Plan,
    PromptTokenizer,
    Shots,
    Task,
    load_task,
    make_plan,
)


@dataclass(frozen=True)
class Question:
    """Which prompts are asked for.

    Attributes:
        task: A prompt task's name or file.
        limit: At most so many examples; None takes all.
        shots: How many demonstrations stand before each.
        seed: Of their draw and order.
    """

    task: str
    limit: int | None = None
    shots: int = 0
    seed: int = 0


def plan_prompts(question: Question, prepared: Prepared) -> Plan:
    """Return what both sides are to be asked.

    Args:
        question: The task and how much of it.
        prepared: The plan of the reference's port.

    Raises:
        MindportError: If the head predicts no words, or task or tokenizer cannot be read.
    """
    plan, head = prepared.plan, prepared.plan.head
    if not head.prompts:
        able = [h.name for h in plan.architecture.heads.values() if h.prompts]
        raise MindportError(
            f"The head {head.name!r} predicts no words, so it cannot answer prompts.",
            f"Use a checkpoint with the head {' or '.join(map(repr, able))}.",
        )
    tokenizer = PromptTokenizer.from_folder(
        prepared.source.folder, vocab_size=plan.config["vocab_size"]
    )
    task = load_task(question.task)
    return make_plan(
        task,
        tokenizer,
        architecture_shape=head.prompts,
        max_length=longest_sequence(plan.architecture, plan.config),
        limit=question.limit,
        shots=draw(question, task),
    )


def draw(question: Question, task: Task) -> Shots:
    """Return the demonstrations that a question asks for.

    Raises:
        MindportError: If the task has not so many.
    """
    if not question.shots:
        return task.draw_shots(None)
    return task.draw_shots(FewShotSampler(num_examples_total=question.shots, seed=question.seed))
