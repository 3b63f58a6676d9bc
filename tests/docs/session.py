"""One Python for a page: a later block knows the names of an earlier one, as a reader's would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

_END = "-- end of a block:"

# Runs what arrives, one JSON object a line, and says after each whether it went well.
_DRIVER = f"""
import json, os, sys, traceback
names = {{"__name__": "__main__"}}
for line in sys.stdin:
    block = json.loads(line)
    os.chdir(block["folder"])
    try:
        exec(compile(block["code"], block["where"], "exec"), names)
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        code = 1
    print(f"\\n{_END} {{code}}", flush=True)
"""


class Session:
    """An interpreter that runs the blocks of a page, one after the other."""

    def __init__(self, folder: Path, environment: dict[str, str], limit: float) -> None:
        self.limit = limit
        self._process = subprocess.Popen(
            [sys.executable, "-c", _DRIVER],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            encoding="utf-8",
            errors="replace",
        )

    def run(self, code: str, where: str, folder: Path) -> tuple[int, str]:
        """Run a block in ``folder``; return 0 if it went well, and what was printed."""
        block = {"code": code, "where": where, "folder": str(folder)}
        self._process.stdin.write(json.dumps(block) + "\n")
        self._process.stdin.flush()
        watch = threading.Timer(self.limit, self._kill)
        watch.start()
        printed = []
        try:
            for line in self._process.stdout:
                if line.startswith(_END):
                    return int(line.removeprefix(_END)), "".join(printed)
                printed.append(line)
        finally:
            watch.cancel()
        return 1, "".join(printed) + "the interpreter ended, or was ended after its time"

    def close(self) -> None:
        """End the interpreter."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
