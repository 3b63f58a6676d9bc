"""Run a page from top to bottom in a scratch folder, as a reader would."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.docs.blocks import Block, Command, agrees, blocks_of, commands_of
from tests.docs.rules import Page, Rule
from tests.docs.session import Session

LIMIT = 1800.0  # seconds that one command may take, on a machine that does other work
WIDTH = 110  # columns of the terminal that pages show


class PageError(AssertionError):
    """Something on the page is not as the page says."""


@dataclass
class Runner:
    """Runs the blocks of one page in ``folder``."""

    page: str
    rules: Page
    folder: Path
    limit: float = LIMIT
    done: list[tuple[str, float, float]] = field(default_factory=list)
    _python: int = 0
    _session: Session | None = None

    def run(self, markdown: str) -> None:
        """Run every block in order.

        Raises:
            PageError: With the page, the line, the command and what it printed.
        """
        try:
            for block in blocks_of(markdown):
                where = f"{self.page}:{block.line}"
                if block.title:
                    self._write(block, where)
                elif block.language in ("sh", "console"):
                    for command in commands_of(block):
                        self._command(command)
                elif block.language == "python" and not self.rules.python_in:
                    self._snippet(block, where)
                else:
                    _parse(block, where)
        finally:
            if self._session is not None:
                self._session.close()

    def _write(self, block: Block, where: str) -> None:
        _parse(block, where)
        path = self.folder / str(block.title)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")

    def _command(self, command: Command) -> None:
        rule = self.rules.commands.get(command.text, Rule())
        if rule.skip or rule.elsewhere:
            return
        text = rule.instead or command.text
        where = f"{self.page}:{command.line}"
        if text.startswith("cd "):
            self.folder = (self.folder / text[3:]).resolve(strict=True)
            return
        code, printed = self._start(["bash", "-c", text], text)
        if code != rule.exit:
            raise PageError(f"{where}: {text}\nexit code {code}, not {rule.exit}\n{printed}")
        if command.shown and not rule.instead and not agrees(command.shown, printed):
            raise PageError(f"{where}: {text}\nprints otherwise than the page shows\n{printed}")

    def _snippet(self, block: Block, where: str) -> None:
        checks = self.rules.python
        code = block.text + "\n" + (checks[self._python] if self._python < len(checks) else "")
        self._python += 1
        if self._session is None:
            self._session = Session(self.folder, environment(), self.limit)
        began = time.monotonic()
        status, printed = self._session.run(code, where, self.folder)
        self.done.append((f"python at {where}", time.monotonic() - began, 0.0))
        if status:
            raise PageError(f"{where}: the Python block fails\n{printed}")

    def _start(self, argv: list[str], name: str) -> tuple[int, str]:
        began, used = time.monotonic(), _processor()
        process = subprocess.Popen(
            argv,
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            encoding="utf-8",
            errors="replace",
        )
        try:
            printed, _ = process.communicate(timeout=self.limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the workers that it started
            process.wait()
            raise PageError(f"{self.page}: {name}\nstill runs after {self.limit} s") from None
        self.done.append((name, time.monotonic() - began, _processor() - used))
        return process.returncode, printed


def _processor() -> float:
    """Return the processor seconds of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def environment() -> dict[str, str]:
    """Return the variables of a reader's shell: our commands first, no colour, no hub."""
    kept = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "PYTEST_CURRENT_TEST")}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": str(WIDTH),
        "NO_COLOR": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_WAIT_POLICY": "passive",
    }


def _parse(block: Block, where: str) -> None:
    """Raise if the block is no file of its language."""
    try:
        if block.language == "python":
            compile(block.text, where, "exec")
        elif block.language == "yaml":
            yaml.safe_load(block.text)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "toml":
            import tomllib  # from Python 3.11 on, which the page tests need anyway

            tomllib.loads(block.text)
    except (SyntaxError, ValueError, yaml.YAMLError) as error:
        raise PageError(f"{where}: this is no {block.language}: {error}") from error
