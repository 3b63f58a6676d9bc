"""The program that trains a prompt in one framework: a run and a case in, results out.

``python -m mindport.validate.learning.worker RUN.json FOLDER``. As
:mod:`mindport.validate.worker` it writes ``FOLDER`` whole, or ``FOLDER.failure.json`` with what
stood in the way, or, if it dies, nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.prompts.learning.model import LearnableModel
from mindport.prompts.learning.nearest import nearest_tokens
from mindport.prompts.learning.training import Training
from mindport.prompts.learning.variants import Disturbed, Reordered
from mindport.validate.backend import load_backend
from mindport.validate.case import Run, load_case
from mindport.validate.guard import watch_parent
from mindport.validate.learning.work import Learned, load_work
from mindport.validate.worker import failure_path


def main(run_file: str, folder: str) -> int:
    """Train and return the exit code."""
    watch_parent()
    try:
        _work(Run.load(Path(run_file)), Path(folder))
    except MindportError as error:
        failure = {"exit_code": error.exit_code, "message": error.message, "hint": error.hint}
        failure_path(Path(folder)).write_text(json.dumps(failure), encoding="utf-8")
        return error.exit_code
    return 0


def _work(run: Run, folder: Path) -> None:
    case, _ = load_case(Path(run.case))
    data, settings = load_work(Path(run.case))
    session = load_backend(run.backend).open_session(run, case)
    if not hasattr(session, "learnable_model"):
        raise EnvironmentUnavailableError(
            f"No prompt can be learned on the backend {run.backend!r}.",
            "Use torch and mindspore.",
        )
    model: LearnableModel = session.learnable_model()
    identity = {**asdict(session.identity), "load": asdict(session.load_report)}

    def learn(network: LearnableModel) -> Any:
        training = Training(network, data, settings)
        for _ in training.run():
            pass
        return training.result(identity)

    result = learn(model)
    floors = []
    if run.oracle:
        floors = [(name, learn(network)) for name, network in _others(model, settings.seed)]
    part = folder.with_name(f"{folder.name}.part")
    Learned(_with_tokens(result, model), tuple(floors)).save(part)
    part.rename(folder)


def _others(model: LearnableModel, seed: int) -> Iterator[tuple[str, LearnableModel]]:
    """Yield the same network, computed otherwise."""
    yield "rows in reverse, more padding", Reordered(model)
    yield "learned numbers one unit off", Disturbed(model, seed)
    wide = getattr(model, "wide", None)
    if wide is not None:
        yield "float64", wide()


def _with_tokens(result: Any, model: LearnableModel) -> Any:
    """Note the nearest tokens, as ids: the worker has no tokenizer."""
    if "soft" in result.learned:
        result.identity["nearest"] = nearest_tokens(
            model.embeddings(), result.learned["soft"]
        ).tolist()
    return result


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
