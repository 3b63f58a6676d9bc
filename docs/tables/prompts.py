"""Fill the table of ``docs/prompts.md``: every task, both architectures, 0, 1 and 4 shots.

    python docs/tables/prompts.py

Runs the embedded models on torch and on MindSpore, one process each, and compares what they
answer. Prints the table, and writes it between the marks of the page.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import product
from pathlib import Path

from mindport.prompts import PromptParity, load_task, task_names
from mindport.validate.prompting.asking import Question
from mindport.validate.prompting.compare import compare_runs
from mindport.validate.prompting.run import PromptRequest, run_prompts

PAGE = Path(__file__).parents[1] / "prompts.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
ARCHITECTURES = ("gpt2", "bert")
SHOTS = (0, 1, 4)
BACKENDS = ("torch", "mindspore")
HEADER = (
    "| task | model | shots | items | accuracy (95 %) | certified | flips | largest difference "
    "of a logit | verdict |\n|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Run everything and write the table."""
    cells = list(product(task_names(), ARCHITECTURES, SHOTS))
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        folders = {(cell, backend): Path(scratch) / f"{i}-{backend}"
                   for i, cell in enumerate(cells) for backend in BACKENDS}  # fmt: skip
        requests = [
            (
                PromptRequest(
                    architecture,
                    Question(task, shots=shots),
                    checkpoint=checkpoint_of(task),
                    backend=backend,
                    timeout=3600,
                ),
                folders[(task, architecture, shots), backend],
            )
            for task, architecture, shots in cells
            for backend in BACKENDS
        ]
        run_prompts(requests, lambda words: print(words, file=sys.stderr))
        lines = [
            row(cell, compare_runs(*(folders[cell, backend] for backend in BACKENDS)))
            for cell in cells
        ]
    table = "\n".join([HEADER, *lines])
    print(table)
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def checkpoint_of(task: str) -> str:
    """Return the embedded models of the task's language."""
    language = load_task(task).language
    return "embedded" if language == "en" else f"embedded-{language}"


def row(cell: tuple[str, str, int], parity: PromptParity) -> str:
    """Return a line of the table."""
    task, architecture, shots = cell
    metrics = parity.level("metrics").figures
    both = []
    for side in ("reference", "candidate"):
        low, high = metrics[side]["accuracy_interval"]
        both.append(f"{metrics[side]['accuracy']:.3f} ({low:.2f} to {high:.2f})")
    accuracy = both[0] if both[0] == both[1] else " / ".join(both)
    rows, margins = parity.level("rows").figures, parity.level("margins").figures
    return (
        f"| {task} | {architecture} | {shots} | {parity.items} | {accuracy} | "
        f"{margins['certified']:.1%} | {len(parity.flips)} | {rows['max']:.1e} | "
        f"{parity.status} |"
    )


if __name__ == "__main__":
    main()
