"""Learn a prompt: soft prompts, P-tuning, prefix tuning, AutoPrompt, on any backend's network."""

from typing import TYPE_CHECKING

from mindport.migrate.lazy import lazy_names

if TYPE_CHECKING:
    from mindport.prompts.learning.batches import make_data
    from mindport.prompts.learning.data import LearningData
    from mindport.prompts.learning.evaluation import Evaluation, evaluate
    from mindport.prompts.learning.findings import LearningParity
    from mindport.prompts.learning.improvement import Improvement, measure_improvement
    from mindport.prompts.learning.methods import method_names
    from mindport.prompts.learning.model import LearnableModel, LearningBatch, Sizes
    from mindport.prompts.learning.parity import compare_results
    from mindport.prompts.learning.result import LearningResult
    from mindport.prompts.learning.settings import LearningSettings
    from mindport.prompts.learning.training import Training, train

else:
    _MODULES = {
        "Evaluation": "evaluation",
        "Improvement": "improvement",
        "LearnableModel": "model",
        "LearningBatch": "model",
        "LearningData": "data",
        "LearningParity": "findings",
        "LearningResult": "result",
        "LearningSettings": "settings",
        "Sizes": "model",
        "Training": "training",
        "compare_results": "parity",
        "evaluate": "evaluation",
        "make_data": "batches",
        "measure_improvement": "improvement",
        "method_names": "methods",
        "train": "training",
    }
    __getattr__ = lazy_names(__name__, _MODULES)

__all__ = [
    "Evaluation",
    "Improvement",
    "LearnableModel",
    "LearningBatch",
    "LearningData",
    "LearningParity",
    "LearningResult",
    "LearningSettings",
    "Sizes",
    "Training",
    "compare_results",
    "evaluate",
    "make_data",
    "measure_improvement",
    "method_names",
    "train",
]
