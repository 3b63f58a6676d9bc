"""Dependencies point one way, and the core works with no framework at all."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("migrate", "validate", "prompts")
FRAMEWORKS = {"torch", "mindspore", "transformers", "mindnlp"}
MAY_IMPORT = {
    "migrate": {"migrate"},
    "prompts": {"prompts", "migrate"},
    "validate": {"validate", "migrate", "prompts"},
}
MINDRECORD_WORKER = "prompts/data/mindrecord_worker.py"
# The outer ring: they may call any package, and nobody imports them.
OUTER = {"cli", "umbrella", "__main__"}


def list_modules():
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield pytest.param(path, id=str(path.relative_to(ROOT)))


MODULES = list(list_modules())


def imports(path, top_level_only=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES)
def test_dependencies_point_downwards(path):
    package = path.relative_to(ROOT).parts[0]
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "mindport" and len(parts) > 1:
            assert parts[1] in MAY_IMPORT[package], f"{path} imports {name}"
            if path.stem not in OUTER:
                assert not OUTER & set(parts), f"{path} imports {name}"


@pytest.mark.parametrize("path", MODULES)
def test_frameworks_are_imported_in_two_places(path):
    place = path.relative_to(ROOT).parts[:2]
    if place in {("migrate", "cells"), ("validate", "backends")}:
        return
    # A program of its own, which no module imports: MindRecord is read by MindSpore alone.
    if path.relative_to(ROOT).as_posix() == MINDRECORD_WORKER:
        return
    found = {name.split(".")[0] for name in imports(path)} & FRAMEWORKS
    assert not found, f"{path} imports {found}"


@pytest.mark.parametrize("path", MODULES)
def test_the_mindrecord_worker_is_run_not_imported(path):
    assert not any("mindrecord_worker" in name for name in imports(path))


@pytest.mark.parametrize("path", MODULES)
def test_backends_import_their_framework_late(path):
    if path.relative_to(ROOT).parts[:2] == ("validate", "backends"):
        found = {n.split(".")[0] for n in imports(path, top_level_only=True)} & FRAMEWORKS
        assert not found


@pytest.mark.parametrize("path", MODULES)
def test_only_cells_are_kept_from_the_core(path):
    if path.relative_to(ROOT).parts[:2] == ("migrate", "cells"):
        return
    assert not any(n.startswith("mindport.migrate.cells") for n in imports(path))


WITHOUT_FRAMEWORKS = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ImportError(name + " is not to be imported here")
sys.meta_path.insert(0, Refuse())
sys.argv = {argv!r}
from mindport.validate.umbrella import main
main()
"""


def run_without_frameworks(*argv):
    code = WITHOUT_FRAMEWORKS.format(names=FRAMEWORKS, argv=["mindport", *argv])
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("migrate",),
        ("migrate", "gpt2"),
        ("migrate", "inspect"),
        ("validate",),
        ("validate", "bert"),
        ("validate", "taps"),
        ("validate", "doctor"),
        ("validate", "record", "gpt2"),
        ("validate", "compare"),
        ("validate", "report"),
        ("validate", "diff"),
        ("validate", "accept"),
        ("prompts",),
    ],
    ids="-".join,
)
def test_help_needs_no_framework(argv):
    done = run_without_frameworks(*argv, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_conversion_needs_no_framework(checkpoint, tmp_path):
    source = str(checkpoint("gpt2", "lm"))
    done = run_without_frameworks("migrate", "gpt2", source, str(tmp_path / "ms"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ms" / "model.safetensors").is_file()


def test_validation_without_frameworks_is_not_run(tmp_path):
    # Workers are processes of their own, so the frameworks are hidden from those as well.
    hook = tmp_path / "sitecustomize.py"
    hook.write_text(WITHOUT_FRAMEWORKS.format(names=FRAMEWORKS, argv=[]).partition("sys.argv")[0])
    done = subprocess.run(
        [sys.executable, "-m", "mindport.validate", "gpt2", "--checkpoint", "random"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "NOT RUN" in done.stdout
    assert "torch cannot be imported" in done.stdout
