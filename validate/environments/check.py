"""Prove that an environment is what its lock file says, and that its backend computes in it.

``python -m mindport.validate.environments.check NAME FILE``, in the environment: writes what ran
to ``FILE``, or ends with a message.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.migrate.porting import port, prepare
from mindport.validate.backend import load_backend
from mindport.validate.case import Run, SettledCase
from mindport.validate.checkpoints import embedded_checkpoint
from mindport.validate.environments.specification import Specification, load_specification

_ARCHITECTURE, _HEAD, _TAP = "gpt2", "lm", "logits"


def main(name: str, file: str) -> int:
    """Check this interpreter and write the identity of what ran."""
    try:
        spec = load_specification(name)
        check_versions(spec)
        facts = run_once(spec.backend)
    except MindportError as error:
        print(error)
        return error.exit_code
    Path(file).write_text(json.dumps(facts), encoding="utf-8")
    return 0


def check_versions(spec: Specification) -> None:
    """Compare what is installed with the lock file.

    Raises:
        EnvironmentUnavailableError: If a package has another version or is not there.
    """
    wrong = []
    for name, pinned in spec.pins.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "absent"
        if found != pinned:
            wrong.append(f"{name} is {found}, not {pinned}")
    if wrong:
        raise EnvironmentUnavailableError(f"The lock file does not hold: {'; '.join(wrong)}.")


def run_once(backend: str) -> dict[str, Any]:
    """Run a GPT-2 with the embedded weights.

    Returns:
        The identity that the backend proves.

    Raises:
        EnvironmentUnavailableError: If it does not run, or computes something that is no number.
    """
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        weights = embedded_checkpoint(_ARCHITECTURE)
        module = load_backend(backend)
        if module.DIALECT == "mindspore":
            weights = port(prepare(weights, _ARCHITECTURE), Path(scratch) / "ported")
        case = SettledCase(_ARCHITECTURE, _HEAD, 0, (_TAP,), {}, prompts=False)
        run = Run(backend, str(weights), "CPU", "float32", "eager", "")
        session = module.open_session(run, case)
        ids = np.arange(1, 9, dtype=np.int64)[None]
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "position_ids": np.arange(8, dtype=np.int64)[None],
        }
        logits = session.forward(inputs)[_TAP]
    if not np.isfinite(logits).all():
        raise EnvironmentUnavailableError("The logits of the embedded GPT-2 are not finite.")
    return asdict(session.identity)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
