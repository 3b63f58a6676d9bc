"""The same prompts on the same model by lm-evaluation-harness and by us: answers and time.

    python -m venv build/lm_eval
    build/lm_eval/bin/pip install torch==2.13.0
    build/lm_eval/bin/pip install "lm_eval[hf]==0.4.13"
    python benchmarks/lm_eval.py --python build/lm_eval/bin/python

The harness is no dependency of ours, so it lives in an environment of its own. Its tasks are what
``prompts convert --to lm_eval`` makes of ours; the data are local files. Each side is a process
that loads the model once and then evaluates whenever asked; the two take turns. Making prompts
and tokenising them counts on both sides, loading models and data on neither.

Exit codes: 0 both answer alike, 1 they do not, 3 the environment is not there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from mindport.migrate.architectures import load_architecture
from mindport.prompts import (
    PromptDataset,
    PromptTokenizer,
    load_task,
    make_plan,
    run_plan,
    score_rows,
)
from mindport.validate.checkpoints import ReferenceChoice, embedded_checkpoint, random_checkpoint
from mindport.validate.prompting.models import load_model

HOW = """\
Make an environment with it, and name its interpreter:
  python -m venv build/lm_eval
  build/lm_eval/bin/pip install torch==2.13.0
  build/lm_eval/bin/pip install "lm_eval[hf]==0.4.13"
  python benchmarks/lm_eval.py --python build/lm_eval/bin/python"""
HERE = Path(__file__).parent
NEAR = 1e-4  # how far log-likelihoods may be apart
WORDS = {
    "one token": {"negative": "bad", "positive": "good"},
    # Three tokens each in the embedded vocabulary.
    "three tokens": {"negative": "bad for me", "positive": "good for me"},
}
SHOTS = 3
NAMES = {
    (words, shots): f"{words}_{shots}_shots".replace(" ", "_")
    for words in WORDS
    for shots in (0, SHOTS)
}


class Side:
    """A process that evaluates tasks when asked.

    Args:
        command: What starts it.
        threads: For torch.
    """

    def __init__(self, command: list[str], threads: int) -> None:
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TQDM_DISABLE": "1"}
        count = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self._process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Threads that wait must not spin: the other side, too, is on these cores.
            env={**os.environ, **offline, **count, "OMP_WAIT_POLICY": "PASSIVE"},
        )
        self.about = self._read()

    def ask(self, task: str) -> dict[str, Any]:
        """Return seconds, processor seconds and the rows of one evaluation."""
        if self._process.stdin is None:
            raise AssertionError("it was opened")
        self._process.stdin.write(json.dumps({"task": task}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        if self._process.stdout is None:
            raise AssertionError("it was opened")
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args} ended with {self._process.wait()}.")
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass(frozen=True)
class Result:
    """What one task on one model came to.

    Attributes:
        ratios: Theirs over ours, by round, of wall time.
        used: The same of processor time.
        items: How many rows.
        different: How many have another prediction.
        apart: The greatest difference of two log-likelihoods.
    """

    ratios: tuple[float, ...]
    used: tuple[float, ...]
    items: int
    different: int
    apart: float


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", type=Path, default=Path("build/lm_eval/bin/python"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=200, help="for the embedded model")
    parser.add_argument("--full-items", type=int, default=32, help="for the full-size model")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", action="append", choices=["embedded", "full-size"])
    parser.add_argument("--ours", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        run_ours(Path(options.ours[0]), Path(options.ours[1]), int(options.ours[2]))
        return 0
    if not has_harness(options.python):
        print(f"{options.python} has no lm_eval.\n{HOW}", file=sys.stderr)
        return 3
    fine = True
    print(
        "| model | task | items | other answers | furthest apart "
        "| theirs / ours, wall, min / median / max | processor |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    about: list[Mapping[str, Any]] = []
    for model in options.model or ["embedded", "full-size"]:
        with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
            work = Path(scratch)
            checkpoint = make_checkpoint(work, model)
            items = options.items if model == "embedded" else options.full_items
            make_tasks(work, items)
            given = [str(work), str(checkpoint), str(options.batch_size)]
            sides = {
                "ours": Side([sys.executable, __file__, "--ours", *given], options.threads),
                "theirs": Side(
                    [str(options.python), "-I", str(HERE / "lm_eval_side.py"), *given],
                    options.threads,
                ),
            }
            about = [side.about for side in sides.values()]
            for (words, shots), name in NAMES.items():
                result = measure(sides, name, options.rounds)
                fine &= not result.different and result.apart <= NEAR
                print(
                    f"| {model} | {words}, {shots} demonstrations | {result.items} | "
                    f"{result.different} | {result.apart:.1e} | {spread(result.ratios)} | "
                    f"{spread(result.used)} |",
                    flush=True,
                )
            for side in sides.values():
                side.close()
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {options.rounds} rounds; "
          f"batches of {options.batch_size}; ours {about[0]}, theirs {about[1]}")  # fmt: skip
    return 0 if fine else 1


def has_harness(python: Path) -> bool:
    """Return whether an interpreter can import the harness."""
    if not python.exists():
        return False
    found = subprocess.run(  # noqa: S603
        [str(python), "-I", "-c", "import importlib.util as u; u.find_spec('lm_eval') or exit(1)"],
        check=False,
    )
    return found.returncode == 0


def make_checkpoint(work: Path, model: str) -> Path:
    """Return the embedded GPT-2, or write a random one of full size."""
    embedded = embedded_checkpoint("gpt2")
    if model == "embedded":
        return embedded
    choice = ReferenceChoice("random", None, "base", "lm", 0)
    folder = random_checkpoint(load_architecture("gpt2"), choice, work / "w")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(embedded / name, folder / name)
    return folder


def make_tasks(work: Path, items: int) -> None:
    """Write our tasks with their data, and convert them by the command line.

    Demonstrations stand in the template, so that both sides put the same ones before every
    question.
    """
    task = load_task("sentiment")
    for side in ("ours", "theirs"):
        (work / side).mkdir()
    data = work / "rows.jsonl"
    with data.open("w", encoding="utf-8") as file:
        for row in task.read_data().take(items):
            file.write(json.dumps({"id": row.id, "text": row.text, "label": row.label}) + "\n")
    pool = PromptDataset.from_file(Path(task.data.path).with_name("sentiment-shots.jsonl"))
    usual = task.templates["prefix"].text
    for (words, shots), name in NAMES.items():
        solved = [
            usual.replace("[X]", shot.text).replace("[Z]", WORDS[words][shot.label]) + "\n"
            for shot in pool[:shots]
        ]
        source = work / "ours" / f"{name}.yaml"
        source.write_text(
            yaml.safe_dump(
                {
                    "version": 1,
                    "description": task.description,
                    "data": {"file": str(data), "text": "text", "label": "label"},
                    "labels": [
                        {"name": label, "words": [word]} for label, word in WORDS[words].items()
                    ],
                    "templates": {"prefix": "".join(solved) + usual},
                    "chance": 0.5,
                },
                allow_unicode=True,
            ),
            encoding="utf-8",
        )
        subprocess.run(  # noqa: S603
            [sys.executable, "-c", "from mindport.validate.umbrella import main; main()",
             "prompts", "convert", str(source), "--to", "lm_eval",
             "-o", str(work / "theirs" / f"{name}.yaml")],
            check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip


def measure(sides: Mapping[str, Side], task: str, rounds: int) -> Result:
    """Let both sides answer a task in turns, once for the answers and then for the time."""
    first = {name: side.ask(task)["rows"] for name, side in sides.items()}
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name in random.sample(sorted(sides), len(sides)):
            seconds[name].append(sides[name].ask(task))
    pairs = list(zip(seconds["theirs"], seconds["ours"], strict=True))
    ours, theirs = first["ours"], first["theirs"]
    if ours.keys() != theirs.keys():
        raise SystemExit(f"Not the same rows: {len(ours)} of ours, {len(theirs)} of theirs.")
    gaps = [
        abs(a - b)
        for row in ours
        for a, b in zip(ours[row]["scores"], theirs[row]["scores"], strict=True)
    ]
    return Result(
        ratios=tuple(their["seconds"] / our["seconds"] for their, our in pairs),
        used=tuple(their["cpu"] / our["cpu"] for their, our in pairs),
        items=len(ours),
        different=sum(
            best(ours[row]["scores"]) != best(theirs[row]["scores"])
            or ours[row]["right"] != theirs[row]["right"]
            for row in ours
        ),
        apart=max(gaps),
    )


def best(scores: list[float]) -> int:
    """Return which is the highest; of equals the first."""
    return scores.index(max(scores))


def spread(values: tuple[float, ...]) -> str:
    """Return min / median / max."""
    return f"{min(values):.2f} / {statistics.median(values):.2f} / {max(values):.2f}"


def run_ours(folder: Path, checkpoint: Path, batch_size: int) -> None:
    """Be our side: load the model once, evaluate whenever asked."""
    model, _ = load_model("gpt2", str(checkpoint))
    tokenizer = PromptTokenizer.from_folder(checkpoint)
    positions = json.loads((checkpoint / "config.json").read_text())["n_positions"]
    print(json.dumps({name: version(name) for name in ("torch", "transformers")}), flush=True)
    for line in sys.stdin:
        task = load_task(folder / "ours" / f"{json.loads(line)['task']}.yaml")
        data = task.read_data()
        started, used = time.perf_counter(), time.process_time()
        plan = make_plan(
            task,
            tokenizer,
            architecture_shape="prefix",
            max_length=positions,
            batch_size=batch_size,
            dataset=data,
        )
        scores = score_rows(plan, run_plan(plan, model))
        seconds, used = time.perf_counter() - started, time.process_time() - used
        rows = {
            name: {
                "scores": scores.word_scores[item].tolist(),
                "right": float(scores.predictions[item] == plan.label_indices[item]),
            }
            for item, name in enumerate(plan.ids)
        }
        print(json.dumps({"seconds": seconds, "cpu": used, "rows": rows}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
