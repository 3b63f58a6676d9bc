"""The pytest plugin: the fixture ``assert_parity``, and ``each_run`` to try it in several ways.

pytest imports this file in every run in which mindport is installed, so it imports nothing that
takes time; what runs a model is imported by the fixture.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mindport.validate.verdict import Verdict

_REPORT, _NOT_RUN = "mindport_report", "mindport_not_run"
_LONGEST = 60  # characters of a test's name that a folder's keeps


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("mindport", "parity of a port")
    group.addoption("--mindport-report", dest=_REPORT, metavar="DIR",
                    help="leave the report of each assert_parity below DIR")  # fmt: skip
    group.addoption("--mindport-not-run", dest=_NOT_RUN, choices=("fail", "skip"), default="fail",
                    help="what a test is that could not run a side: by default it fails, since "
                    "what did not run is never a pass")  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Fix the folder of reports before any worker of pytest-xdist starts elsewhere."""
    folder = config.getoption(_REPORT)
    if folder is not None:
        setattr(config.option, _REPORT, str(config.invocation_params.dir / folder))


@pytest.fixture
def assert_parity(request: pytest.FixtureRequest) -> Callable[..., Verdict]:
    """Return :func:`mindport.validate.assert_parity`, which obeys the options of pytest."""
    reports, skips = (request.config.getoption(name) for name in (_REPORT, _NOT_RUN))
    numbers = itertools.count(1)

    def check(asked: Any, **options: Any) -> Verdict:
        __tracebackhide__ = True
        from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
        from mindport.validate.parity import ParityError, assert_parity

        if reports is not None:
            options.setdefault("report", Path(reports) / _folder(request.node.nodeid, numbers))
        try:
            return assert_parity(asked, **options)
        except EnvironmentUnavailableError as error:
            if skips == "skip":
                pytest.skip(str(error))
            raise error.with_traceback(None) from None
        except (MindportError, ParityError) as error:
            # The way through our own code tells the reader of a test nothing.
            raise error.with_traceback(None) from None

    return check


def each_run(**choices: Sequence[Any]) -> pytest.MarkDecorator:
    """Run a test once for each combination of options, which it is given as ``run_options``.

    ::

        @each_run(mode=["eager", "graph"], dtype=["float32", "float16"])
        def test_port(assert_parity, run_options):
            assert_parity("gpt2", checkpoint="./gpt2-hf", **run_options)

    Args:
        choices: What to try, by the name of the option.
    """
    cases = [
        dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())
    ]
    ids = ["-".join(str(value) for value in case.values()) for case in cases]
    return pytest.mark.parametrize("run_options", cases, ids=ids)


def _folder(nodeid: str, numbers: itertools.count[int]) -> str:
    """Return a name for the report of a test: readable, and of this test and call alone."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", nodeid.rpartition("/")[2]).strip("-.")[:_LONGEST]
    digest = hashlib.sha256(nodeid.encode()).hexdigest()[:8]
    number = next(numbers)
    return f"{words}-{digest}" + (f"-{number}" if number > 1 else "")
