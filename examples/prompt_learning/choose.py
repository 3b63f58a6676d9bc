"""How the settings of ``run.py`` were chosen: on rows of ``train.jsonl`` alone, on PyTorch alone.

Two hundred rows to learn from, a hundred to choose by; no held-out row is read. It takes some
minutes, and prints one line a setting.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from run import CHOSEN, HERE, course_task

from mindport.prompts import PromptDataset, PromptTokenizer, load_task
from mindport.prompts.learning import make_data, train
from mindport.validate.backend import load_backend
from mindport.validate.case import Run, SettledCase
from mindport.validate.checkpoints import embedded_checkpoint

TRIED = [
    ("soft-prompt", 5, 0.01),
    ("soft-prompt", 10, 0.01),
    ("soft-prompt", 10, 0.03),
    ("soft-prompt", 10, 0.1),
    ("soft-prompt", 20, 0.03),
]


def main() -> None:
    """Train with each setting and print how well the rows set aside are answered."""
    folder = embedded_checkpoint("gpt2")
    run = Run("torch", str(folder), "CPU", "float32", "eager", "", threads=1)
    session = load_backend("torch").open_session(run, SettledCase("gpt2", "lm", 0, (), {}, False))
    model = session.learnable_model()
    with tempfile.TemporaryDirectory() as scratch:
        task = load_task(course_task(Path(scratch)))
    rows = tuple(PromptDataset.from_file(HERE / "train.jsonl"))
    for method, tokens, rate in TRIED:
        for place in ("start", "answer"):
            settings = replace(
                CHOSEN, method=method, tokens=tokens, learning_rate=rate, place=place
            )
            data = make_data(
                task,
                PromptTokenizer.from_folder(folder),
                settings,
                shape="prefix",
                positions=model.sizes.positions,
                train=PromptDataset(rows[:200]),
                evaluation=PromptDataset(rows[200:]),
            )
            result = train(model, data, settings)
            print(
                f"{method} {tokens} {rate} {place}: loss {result.before.loss:.3f} → "
                f"{result.after.loss:.3f}, accuracy {result.before.accuracy:.2f} → "
                f"{result.after.accuracy:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
