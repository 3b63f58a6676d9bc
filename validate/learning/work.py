"""What a worker is given and what it leaves: folders of JSON and safetensors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mindport.prompts.learning.data import LearningData
from mindport.prompts.learning.result import LearningResult
from mindport.prompts.learning.settings import LearningSettings

_DATA, _SETTINGS = "learning", "settings.json"
_RESULT, _FLOORS = "result", "floors"


def save_work(case: Path, data: LearningData, settings: LearningSettings) -> None:
    """Write what is to be learned into a case folder."""
    data.save(case / _DATA)
    text = json.dumps(settings.to_dict(), indent=2)
    (case / _SETTINGS).write_text(text + "\n", encoding="utf-8")


def load_work(case: Path) -> tuple[LearningData, LearningSettings]:
    """Read what :func:`save_work` wrote."""
    settings = json.loads((case / _SETTINGS).read_text(encoding="utf-8"))
    return LearningData.load(case / _DATA), LearningSettings(**settings)


@dataclass(frozen=True)
class Learned:
    """What one side learned.

    Attributes:
        result: The training.
        floors: Of the reference, other correct trainings, by what was done otherwise.
    """

    result: LearningResult
    floors: tuple[tuple[str, LearningResult], ...]

    def save(self, folder: Path) -> None:
        """Write it into a new folder."""
        self.result.save(folder / _RESULT)
        for number, (name, result) in enumerate(self.floors, 1):
            result.save(folder / _FLOORS / f"{number} {name}")

    @classmethod
    def load(cls, folder: Path) -> Learned:
        """Read what :meth:`save` wrote."""
        floors = sorted((folder / _FLOORS).iterdir()) if (folder / _FLOORS).is_dir() else []
        return cls(
            LearningResult.load(folder / _RESULT),
            tuple((path.name.partition(" ")[2], LearningResult.load(path)) for path in floors),
        )
