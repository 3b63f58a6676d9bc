"""GPT-2 sentiment by prompt: the course's zero-shot prompt, then the same with learned vectors.

``python run.py`` asks the embedded GPT-2 the MindSpore course's prompt (template and verbalizer
are read from the course's own OpenPrompt forms), then learns a soft prompt for it on PyTorch and
on MindSpore from the same start, and shows accuracy on held-out rows before and after, and whether
both frameworks learned the same.

Method, tokens, place, rate and steps were chosen on rows of ``train.jsonl`` alone (``choose.py``):
200 of them to learn from, 100 to choose by. The 200 held-out rows only measure; while the training
loop was written, other settings were tried on them too, and nothing was chosen by that.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from mindport.migrate.console import out
from mindport.prompts.formats.convert import convert
from mindport.prompts.learning import LearningSettings
from mindport.prompts.task import load_task
from mindport.validate.learning.pipeline import learn
from mindport.validate.learning.report import print_learning
from mindport.validate.learning.request import LearnRequest
from mindport.validate.learning.verdict import LearningVerdict

HERE = Path(__file__).parent
CHOSEN = LearningSettings(
    "soft-prompt",
    tokens=10,
    steps=80,
    batch_size=16,
    learning_rate=0.01,
    schedule="linear",
    place="answer",
    seed=0,
)


def course_task(folder: Path) -> Path:
    """Write the course's prompt as a task over our held-out sentences, and return its file."""
    convert(
        HERE / "course" / "template.txt",
        folder / "course.yaml",
        "task",
        source_format="openprompt",
        options={"verbalizer": HERE / "course" / "verbalizer.json"},
        write_options={"data": str(load_task("sentiment").data.path)},
    )
    return folder / "course.yaml"


def learn_sentiment(
    settings: LearningSettings = CHOSEN, output: Path | None = None, limit: int | None = None
) -> LearningVerdict:
    """Learn a prompt for the course's task on both frameworks."""
    with tempfile.TemporaryDirectory() as scratch:
        request = LearnRequest(
            str(course_task(Path(scratch))),
            "gpt2",
            settings,
            train=HERE / "train.jsonl",
            threads=1,
            output=output,
            limit=limit,
        )
        return learn(request)


def main() -> int:
    """Print the verdict and return its exit code."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("-o", "--output", type=Path, help="where to write results")
    verdict = learn_sentiment(output=parser.parse_args().output)
    print_learning(out(), verdict)
    return verdict.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
