"""One side that is timed: a run in, a forward for every line of the standard input.

``python -m mindport.validate.acceptance.stopwatch RUN.json`` says ``{"ready": identity}`` or
``{"failed": message, "hint": hint}`` in its first line, then
``{"wall": s, "processor": s}`` for every forward.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from mindport.migrate.errors import MindportError
from mindport.validate.backend import load_backend
from mindport.validate.case import Run, load_case
from mindport.validate.guard import watch_parent


def main(run_file: str) -> int:
    """Load the network, say what runs, and run it whenever asked."""
    watch_parent()
    # Frameworks print; what they print goes to the log and not between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    run = Run.load(Path(run_file))
    case, inputs = load_case(Path(run.case))
    try:
        session = load_backend(run.backend).open_session(run, case)
        session.forward(inputs)  # not counted: it compiles, and reads weights for the first time
    except MindportError as error:
        print(json.dumps({"failed": error.message, "hint": error.hint}), file=answers)
        return error.exit_code
    print(json.dumps({"ready": asdict(session.identity)}), file=answers)
    for _ in sys.stdin:
        started, used = time.perf_counter(), time.process_time()
        session.forward(inputs)
        took = {"wall": time.perf_counter() - started, "processor": time.process_time() - used}
        print(json.dumps(took), file=answers)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
