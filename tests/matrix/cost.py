"""What an environment costs, measured by itself."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

_LONGEST = 3600.0  # a package that came later than this was not installed with the others


class Meter:
    """Measures a run from its creation on."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._load = os.getloadavg()[0]

    def read(self) -> dict[str, Any]:
        """Return seconds of installing and running, cores, and the load average around it."""
        return {
            "install_seconds": install_seconds(Path(sys.prefix)),
            "run_seconds": round(time.monotonic() - self._started, 1),
            "cores": os.cpu_count(),
            "load": [round(self._load, 1), round(os.getloadavg()[0], 1)],
            "python": sys.version.split()[0],
        }


def install_seconds(prefix: Path) -> float | None:
    """Return how long a virtual environment took to fill; None if that cannot be told.

    From the file that is written first to the last record of an installed package; mindport's
    own, which is installed anew for every run, does not count.
    """
    try:
        began = (prefix / "pyvenv.cfg").stat().st_mtime
        ends = [
            record.stat().st_mtime
            for record in prefix.glob("lib/python*/site-packages/*.dist-info/RECORD")
            if not record.parent.name.startswith("mindport-")
        ]
    except OSError:
        return None
    spent = max(ends, default=0.0) - began
    return round(spent, 1) if 0 < spent < _LONGEST else None
