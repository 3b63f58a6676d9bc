"""Turn a labelled data set into prompts and score what a model answers."""

from mindport.prompts.dataset import InputExample, PromptDataset
from mindport.prompts.parity import Flip, PromptParity, compare_scores
from mindport.prompts.plan import Batch, Plan, make_plan
from mindport.prompts.score import Scores, score_rows
from mindport.prompts.task import DataFile, Task, load_task, task_names
from mindport.prompts.template import Template
from mindport.prompts.tokenizer import PromptTokenizer
from mindport.prompts.verbalizer import Verbalizer

__all__ = [
    "Batch",
    "DataFile",
    "Flip",
    "InputExample",
    "Plan",
    "PromptDataset",
    "PromptParity",
    "PromptTokenizer",
    "Scores",
    "Task",
    "Template",
    "Verbalizer",
    "compare_scores",
    "load_task",
    "make_plan",
    "score_rows",
    "task_names",
]
