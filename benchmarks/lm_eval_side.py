"""The other side of ``lm_eval.py``: lm-evaluation-harness, in an environment of its own.

Reads one JSON object a line from the standard input, and answers each with one. It is run with
``-I``: a script of this folder would else import ``lm_eval.py`` for the harness.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any


def main() -> None:
    """Load model and task, then evaluate whenever asked."""
    folder, checkpoint, batch_size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    answers = sys.stdout
    sys.stdout = sys.stderr  # the harness prints
    import torch
    from lm_eval import evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    logging.disable(logging.WARNING)
    model = HFLM(pretrained=checkpoint, device="cpu", dtype="float32", batch_size=batch_size)
    manager = TaskManager(include_path=str(folder / "theirs"), include_defaults=False)
    versions = {name: version(name) for name in ("lm_eval", "torch", "transformers")}
    about = versions | {"threads": torch.get_num_threads()}
    print(json.dumps(about), file=answers, flush=True)
    for line in sys.stdin:
        name = json.loads(line)["task"]
        loaded = manager.load([name])  # reads the data
        loaded["tasks"][name].set_config(key="num_fewshot", value=0)
        started, used = time.perf_counter(), time.process_time()
        # simple_evaluate would look at git, pip and the processor too.
        found = evaluate(lm=model, task_dict=loaded, bootstrap_iters=0, log_samples=True)
        seconds, used = time.perf_counter() - started, time.process_time() - used
        (samples,) = found["samples"].values()
        rows = {sample["doc"]["id"]: read_sample(sample) for sample in samples}
        print(json.dumps({"seconds": seconds, "cpu": used, "rows": rows}), file=answers, flush=True)


def read_sample(sample: dict[str, Any]) -> dict[str, Any]:
    """Return what the harness found for one row."""
    scores = [float(answer[0][0]) for answer in sample["resps"]]
    return {"scores": scores, "right": float(sample["acc"]), "target": sample["target"]}


if __name__ == "__main__":
    main()
