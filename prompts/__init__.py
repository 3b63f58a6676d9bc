"""Turn a labelled data set into prompts and score what a model answers."""

from typing import TYPE_CHECKING

from mindport.migrate.lazy import lazy_names

if TYPE_CHECKING:
    from mindport.prompts.calibration import Calibration
    from mindport.prompts.classify import PromptDataLoader, PromptForClassification
    from mindport.prompts.dataset import InputExample, PromptDataset
    from mindport.prompts.execute import PromptModel, run_plan
    from mindport.prompts.parity import Flip, PromptParity, compare_scores
    from mindport.prompts.plan import Batch, Plan
    from mindport.prompts.planning import make_plan
    from mindport.prompts.score import Scores, score_rows
    from mindport.prompts.shots import FewShotSampler, Shots
    from mindport.prompts.task import DataFile, Task, load_task, task_names
    from mindport.prompts.template import Template
    from mindport.prompts.tokenizer import PromptTokenizer
    from mindport.prompts.verbalizer import Verbalizer, Word

else:
    _MODULES = {
        "Batch": "plan",
        "Calibration": "calibration",
        "DataFile": "task",
        "FewShotSampler": "shots",
        "Flip": "parity",
        "InputExample": "dataset",
        "Plan": "plan",
        "PromptDataLoader": "classify",
        "PromptDataset": "dataset",
        "PromptForClassification": "classify",
        "PromptModel": "execute",
        "PromptParity": "parity",
        "PromptTokenizer": "tokenizer",
        "Scores": "score",
        "Shots": "shots",
        "Task": "task",
        "Template": "template",
        "Verbalizer": "verbalizer",
        "Word": "verbalizer",
        "compare_scores": "parity",
        "load_task": "task",
        "make_plan": "planning",
        "run_plan": "execute",
        "score_rows": "score",
        "task_names": "task",
    }
    __getattr__ = lazy_names(__name__, _MODULES)

__all__ = [
    "Batch",
    "Calibration",
    "DataFile",
    "FewShotSampler",
    "Flip",
    "InputExample",
    "Plan",
    "PromptDataLoader",
    "PromptDataset",
    "PromptForClassification",
    "PromptModel",
    "PromptParity",
    "PromptTokenizer",
    "Scores",
    "Shots",
    "Task",
    "Template",
    "Verbalizer",
    "Word",
    "compare_scores",
    "load_task",
    "make_plan",
    "run_plan",
    "score_rows",
    "task_names",
]
