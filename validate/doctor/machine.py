"""What the machine has, whichever Python runs: CANN, drivers, CUDA, device files, disk, memory.

Only files are read and, where asked, the vendors' own tools are run with a time limit.
"""

from __future__ import annotations

import ctypes.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_TOOL_SECONDS = 10.0
_ASCEND = "usr/local/Ascend"
# Where CANN says its version; MindSpore compares the first of these.
_CANN_FILES = (
    ("compiler/version.info", re.compile(r"^Version=(\S+)", re.MULTILINE)),
    ("runtime/version.info", re.compile(r"^Version=(\S+)", re.MULTILINE)),
    ("version.cfg", re.compile(r"running_version=\[[^:\]]*:([^\]:]+)", re.MULTILINE)),
    ("version.info", re.compile(r"^[Vv]ersion=(\S+)", re.MULTILINE)),
)
_CANN_HOMES = ("ascend-toolkit/latest", "cann", "latest", "nnrt/latest")
_DRIVER_FILE = "driver/version.info"

Runner = Callable[[str], "str | None"]


@dataclass(frozen=True)
class Ascend:
    """What belongs to an Ascend.

    Attributes:
        home: Folder of CANN, or None.
        cann: Its version, as in the file that MindSpore reads; empty if unknown.
        cann_file: That file.
        driver: Version of the driver; empty if there is none.
        tool: What ``npu-smi info`` said, or where it is; empty if it is not on PATH.
        devices: Device files.
        looked: What was looked for and what was found, one short clause each.
    """

    home: Path | None = None
    cann: str = ""
    cann_file: str = ""
    driver: str = ""
    tool: str = ""
    devices: tuple[str, ...] = ()
    looked: tuple[str, ...] = ()

    @property
    def present(self) -> bool:
        """Whether there is a sign of a device or its driver."""
        return bool(self.driver or self.tool or self.devices)


@dataclass(frozen=True)
class Cuda:
    """What belongs to a GPU.

    Attributes:
        driver: Version of the driver; empty if unknown.
        version: The CUDA that the driver offers at most; empty if unknown.
        library: ``libcuda`` as the loader finds it; empty if it does not.
        tool: What ``nvidia-smi`` said, or where it is; empty if it is not on PATH.
        devices: Device files.
        runtime: Version of the CUDA runtime that is installed; empty if none is found.
        looked: What was looked for and what was found, one short clause each.
    """

    driver: str = ""
    version: str = ""
    library: str = ""
    tool: str = ""
    devices: tuple[str, ...] = ()
    runtime: str = ""
    looked: tuple[str, ...] = ()

    @property
    def present(self) -> bool:
        """Whether there is a sign of a device or its driver."""
        return bool(self.library or self.tool or self.devices)


@dataclass(frozen=True)
class Machine:
    """What the machine has.

    Attributes:
        ascend: What belongs to an Ascend.
        cuda: What belongs to a GPU.
        free_disk: Bytes free where temporary files go.
        memory: Bytes of memory that a new process may take; None if unknown.
        cpus: How many this process may use.
        variables: The environment variables that decide where things are found.
    """

    ascend: Ascend
    cuda: Cuda
    free_disk: int
    memory: int | None
    cpus: int
    variables: Mapping[str, str] = field(default_factory=dict)


_VARIABLES = (
    "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LD_PRELOAD", "ASCEND_HOME_PATH",
    "ASCEND_OPP_PATH", "ASCEND_TOOLKIT_HOME", "ASCEND_RT_VISIBLE_DEVICES", "CUDA_HOME",
    "CUDA_VISIBLE_DEVICES", "DEVICE_ID", "DEVICE_TARGET", "OMP_NUM_THREADS",
)  # fmt: skip


def look_at_machine(
    environ: Mapping[str, str] | None = None, root: Path = Path("/"), run: Runner | None = None
) -> Machine:
    """Return what the machine has.

    Args:
        environ: The environment; by default this process's.
        root: Where the file system begins.
        run: Runs a command line and returns what it printed, or None.
    """
    environ = os.environ if environ is None else environ
    run = run or run_tool
    return Machine(
        ascend=look_for_ascend(environ, root, run),
        cuda=look_for_cuda(environ, root, run),
        free_disk=shutil.disk_usage(tempfile.gettempdir()).free,
        memory=_available_memory(root),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1,
        variables={name: environ[name] for name in _VARIABLES if environ.get(name)},
    )


def run_tool(command: str) -> str | None:
    """Run a vendor's tool and return what it printed; None if it fails or does not end."""
    words = command.split()
    try:
        done = subprocess.run(  # noqa: S603 - npu-smi or nvidia-smi, found on the user's PATH
            words, capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False,
            errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def look_for_ascend(
    environ: Mapping[str, str], root: Path = Path("/"), run: Runner | None = None
) -> Ascend:
    """Return what belongs to an Ascend.

    Args:
        environ: The environment.
        root: Where the file system begins.
        run: Runs ``npu-smi``; None only looks for it.
    """
    folder = root / _ASCEND
    homes = [Path(value) for name in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")
             if (value := environ.get(name))]  # fmt: skip
    home = next((h for h in (*homes, *(folder / h for h in _CANN_HOMES)) if h.is_dir()), None)
    cann, cann_file = _cann_version(home) if home else ("", "")
    driver = _search(folder / _DRIVER_FILE, re.compile(r"^[Vv]ersion=(\S+)", re.MULTILINE))
    where = shutil.which("npu-smi", path=environ.get("PATH"))
    tool = where or ""
    if where and run:
        tool = run(f"{where} info") or f"{where} fails or does not end"
    devices = tuple(sorted(
        str(p) for p in (root / "dev").glob("davinci*") if re.fullmatch(r"davinci\d+", p.name)
    ))  # fmt: skip
    set_but_absent = "".join(f"; {h} is set but not there" for h in homes if not h.is_dir())
    looked = (
        f"device files /dev/davinci*: {', '.join(devices) or 'none'}",
        f"driver /{_ASCEND}/{_DRIVER_FILE}: {driver or 'none'}",
        f"npu-smi: {where or 'not on PATH'}",
        f"CANN (ASCEND_HOME_PATH, /{_ASCEND}): "
        f"{f'{cann or chr(63)} in {home}' if home else 'none'}{set_but_absent}",
    )
    return Ascend(home, cann, cann_file, driver, tool, devices, looked)


def _cann_version(home: Path) -> tuple[str, str]:
    for name, pattern in _CANN_FILES:
        if found := _search(home / name, pattern):
            return found, str(home / name)
    for path in sorted(home.glob("*-linux/*_install.info")):
        if found := _search(path, re.compile(r"^version=(\S+)", re.MULTILINE)):
            return found, str(path)
    return "", ""


def look_for_cuda(
    environ: Mapping[str, str], root: Path = Path("/"), run: Runner | None = None
) -> Cuda:
    """Return what belongs to a GPU.

    Args:
        environ: The environment.
        root: Where the file system begins.
        run: Runs ``nvidia-smi``; None only looks for it.
    """
    where = shutil.which("nvidia-smi", path=environ.get("PATH"))
    tool, driver, version = where or "", "", ""
    if where and run:
        said = run(where)
        tool = said or f"{where} fails or does not end"
        driver = _first(re.compile(r"Driver Version:\s*([\d.]+)"), said or "")
        version = _first(re.compile(r"CUDA Version:\s*([\d.]+)"), said or "")
    driver = driver or _search(
        root / "proc/driver/nvidia/version", re.compile(r"Kernel Module\s+([\d.]+)")
    )
    library = (ctypes.util.find_library("cuda") or "") if root == Path("/") else ""
    devices = tuple(sorted(
        str(p) for p in (root / "dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", p.name)
    ))  # fmt: skip
    runtime = _search(root / "usr/local/cuda/version.json", re.compile(r'"cuda"[^}]*?"([\d.]+)"'))
    looked = (
        f"device files /dev/nvidia*: {', '.join(devices) or 'none'}",
        f"driver: {driver or 'none'}",
        f"nvidia-smi: {where or 'not on PATH'}",
        f"libcuda: {library or 'not found by the loader'}",
    )
    return Cuda(driver, version, library, tool, devices, runtime, looked)


def _available_memory(root: Path) -> int | None:
    found = _search(root / "proc/meminfo", re.compile(r"^MemAvailable:\s*(\d+) kB", re.MULTILINE))
    free = int(found) * 1024 if found else None
    limit = _search(root / "sys/fs/cgroup/memory.max", re.compile(r"^(\d+)$", re.MULTILINE))
    used = _search(root / "sys/fs/cgroup/memory.current", re.compile(r"^(\d+)$", re.MULTILINE))
    if limit:
        room = int(limit) - int(used or 0)
        return room if free is None else min(free, room)
    return free


def _search(path: Path, pattern: re.Pattern[str]) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return _first(pattern, text)


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""
