"""Prompt classification in one process, under the names that OpenPrompt gave it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mindport.prompts.calibration import Calibration
from mindport.prompts.dataset import PromptDataset
from mindport.prompts.execute import PromptModel, run_plan
from mindport.prompts.plan import Batch
from mindport.prompts.planning import make_plan
from mindport.prompts.score import Scores, score_rows
from mindport.prompts.shots import NO_SHOTS, Shots
from mindport.prompts.task import DataFile, Task
from mindport.prompts.template import Template
from mindport.prompts.tokenizer import PromptTokenizer
from mindport.prompts.verbalizer import Verbalizer


class PromptDataLoader:
    """A data set as batches of prompts; iterating gives :class:`Batch` after :class:`Batch`.

    The shape of the prompts follows the vocabulary: cloze if it has a mask, else prefix.

    Args:
        dataset: The rows.
        template: The text around them.
        verbalizer: Label words.
        tokenizer: The checkpoint's.
        max_seq_length: The most tokens in a prompt: the model's positions, or fewer.
        batch_size: The most prompts in a batch.
        shots: Demonstrations.
        calibration: What prior is taken out.

    Attributes:
        plan: The whole of what a model is asked.

    Raises:
        MindportError: If template, words and rows do not fit together or into the vocabulary.
    """

    def __init__(
        self,
        dataset: PromptDataset,
        template: Template,
        verbalizer: Verbalizer,
        tokenizer: PromptTokenizer,
        *,
        max_seq_length: int = 512,
        batch_size: int = 16,
        shots: Shots = NO_SHOTS,
        calibration: Calibration | None = None,
    ) -> None:
        shape = template.shape if tokenizer.mask_id is None else "cloze"
        task = Task(
            name=dataset.source,
            version=1,
            description=f"Rows of {dataset.source}.",
            data=DataFile(Path(dataset.source)),
            verbalizer=verbalizer,
            templates={shape: template},
            chance=1 / len(verbalizer.labels),
            calibration=calibration or Calibration(),
        )
        self.plan = make_plan(
            task,
            tokenizer,
            architecture_shape=shape,
            max_length=max_seq_length,
            batch_size=batch_size,
            dataset=dataset,
            shots=shots,
        )

    def __len__(self) -> int:
        return len(self.plan.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.plan.batches)


class PromptForClassification:
    """A model that labels texts by prompt.

    ``mindport.validate.prompting.models.load_model`` gives models of either framework.

    Args:
        model: Answers prompts.
    """

    def __init__(self, model: PromptModel) -> None:
        self._model = model

    def __call__(self, loader: PromptDataLoader) -> Scores:
        """Return what the model says of every row.

        Raises:
            MindportError: If a row of logits holds NaN or infinity.
        """
        return score_rows(loader.plan, run_plan(loader.plan, self._model))
