"""Checkpoints that were tampered with."""

from __future__ import annotations

import shutil

import pytest
from safetensors.numpy import load_file, save_file


@pytest.fixture
def edited(checkpoint, tmp_path):
    """Copy a checkpoint, change its tensors, and return the folder."""

    def edit(architecture, head, change, **config):
        folder = tmp_path / "edited"
        shutil.copytree(checkpoint(architecture, head, **config), folder)
        tensors = load_file(folder / "model.safetensors")
        tensors = change(tensors) or tensors
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return folder

    return edit
