"""What a worker does so that it never outlives the program that started it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

PARENT = "MINDPORT_PARENT"
_EVERY = 0.5  # seconds


def watch_parent() -> None:
    """End this process and its children soon after the parent has gone, however that happened.

    A program that starts workers says so in the environment. It ends them itself when it can, so
    this is for the day when it is killed.
    """
    parent = os.getppid()  # the one that started us, or a script of the user's in between
    if os.environ.get(PARENT) and parent > 1:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_EVERY)
    if os.getpgrp() == os.getpid():
        kill_group(os.getpid())
    os._exit(1)


def kill_group(leader: int) -> None:
    """Kill a process that leads a group, and all that it has started; 0 kills nothing.

    Args:
        leader: Its number. It must not have been waited for, or the number may be another's.
    """
    if leader > 0:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)
