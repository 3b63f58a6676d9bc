"""The package list is explicit, so a folder can be forgotten: compare it with the tree."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def settings():
    if sys.version_info < (3, 11):
        pytest.skip("tomllib is in the standard library from Python 3.11 on")
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_package_is_listed(settings):
    found = {
        "mindport." + ".".join(init.parent.relative_to(ROOT).parts)
        for top in ("migrate", "validate", "prompts")
        for init in (ROOT / top).rglob("__init__.py")
    }
    assert found == set(settings["packages"])


def test_every_folder_with_code_is_a_package():
    for top in ("migrate", "validate", "prompts"):
        for path in (ROOT / top).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), path.parent


def test_data_files_are_listed(settings):
    listed = settings["package-data"]
    for top in ("migrate", "validate", "prompts"):
        for path in (ROOT / top).rglob("*"):
            if path.is_dir() or path.suffix in {".py", ".pyc"} or "__pycache__" in path.parts:
                continue
            folder = path.parent
            while not (folder / "__init__.py").is_file():
                folder = folder.parent
            patterns = listed.get("mindport." + ".".join(folder.relative_to(ROOT).parts), [])
            assert any(path.relative_to(folder).match(p) for p in patterns), path


def test_no_physical_root_package():
    # A folder of this name would shadow the installed package for tests run from the root.
    assert not (ROOT / "mindport").exists()


def test_files_stay_small():
    for top in ("migrate", "validate", "prompts", "examples"):
        for path in (ROOT / top).rglob("*.py"):
            # An architecture is one declarative file, a table with rows for every head: found by
            # listing the folder, so not to be cut in two when a head is added.
            limit = 360 if path.parent.name == "architectures" else 320
            assert len(path.read_text().splitlines()) <= limit, path


def test_no_reshape_in_a_port():
    # It accepts any array of the right size and so hides a wrong layout. Cells may: there an
    # axis is split into heads, which no transpose can do.
    for path in (ROOT / "migrate").rglob("*.py"):
        if "cells" not in path.parts:
            assert ".reshape(" not in path.read_text(), path
