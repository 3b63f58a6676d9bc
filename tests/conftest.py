"""What every test may use: tiny checkpoints of every head, written without a framework."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.validate.checkpoints import ReferenceChoice, random_checkpoint

# Tests read what is said in English, whatever the language of the machine.
os.environ["MINDPORT_LANG"] = "en"

# A busy machine is no fault of what is tested.
settings.register_profile("mindport", deadline=None)
settings.load_profile("mindport")

HEADS = [(name, head) for name in architecture_names() for head in load_architecture(name).heads]


def make_checkpoint(
    folder: Path, architecture: str, head: str, seed: int = 0, **config: object
) -> Path:
    """Write a Hugging Face folder of random tiny weights."""
    described = load_architecture(architecture)
    config_file = folder.with_name(f"{folder.name}.json")
    tiny = described.sizes["tiny"]
    # Not where positions are counted behind it: few would be left.
    pad = {} if described.positions_after else {"pad_token_id": tiny["vocab_size"] - 1}
    content = {**tiny, **pad, **config}
    config_file.write_text(json.dumps(content))
    choice = ReferenceChoice("random", config_file, None, head, seed)
    return random_checkpoint(described, choice, folder)


@pytest.fixture(params=HEADS, ids="-".join)
def every_head(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Architecture and head, each in turn."""
    return request.param


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a Hugging Face folder of random tiny weights; do not write into it."""
    made: dict[tuple[str, ...], Path] = {}

    def make(architecture: str, head: str, seed: int = 0, **config: object) -> Path:
        key = (architecture, head, str(seed), json.dumps(config, sort_keys=True))
        if key not in made:
            folder = tmp_path_factory.mktemp(f"{architecture}-{head}") / "hf"
            made[key] = make_checkpoint(folder, architecture, head, seed, **config)
        return made[key]

    return make
