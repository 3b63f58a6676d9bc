"""A thread that does one job after another."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

from mindport.migrate.streaming.buffers import Buffer

Job = Callable[[], None]
_SECONDS = 0.1


class Worker:
    """Does jobs in the order in which they came, beside the caller.

    After a job has failed none is begun any more, and the failure is raised to the caller at the
    next opportunity.

    Args:
        name: What it does, for whoever looks at the threads.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[tuple[Job, Buffer | None] | None] = SimpleQueue()
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, job: Job, buffer: Buffer | None = None) -> None:
        """Ask for a job.

        Args:
            job: What to do.
            buffer: Memory that it reads, kept until it is done.

        Raises:
            OSError: Or whatever else an earlier job failed with.
        """
        self.check()
        if buffer is not None:
            buffer.keep()
        self._jobs.put((job, buffer))

    def check(self) -> None:
        """Raise if a job failed.

        Raises:
            OSError: Or whatever else it failed with.
        """
        if self._failure is not None:
            raise self._failure

    def close(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until all jobs are done.

        Args:
            meanwhile: Called some times a second until they are.

        Raises:
            OSError: Or whatever else a job failed with.
        """
        self._jobs.put(None)
        while self._thread.is_alive():
            self._thread.join(_SECONDS)
            meanwhile()
        self.check()

    def stop(self) -> None:
        """Wait for the thread's end, whether or not a job failed; may be called again."""
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (asked := self._jobs.get()) is not None:
            job, buffer = asked
            try:
                if self._failure is None:
                    job()
            except BaseException as error:
                self._failure = error
            finally:
                if buffer is not None:
                    buffer.let_go()
