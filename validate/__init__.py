"""Run one case on two backends and judge whether they agree."""

from typing import TYPE_CHECKING

from mindport.migrate.lazy import lazy_names

if TYPE_CHECKING:
    from mindport.validate.api import compare, load_run, run, save_case, validate
    from mindport.validate.checkpoints import embedded_checkpoint
    from mindport.validate.parity import ParityError, assert_parity
    from mindport.validate.prompting.asking import Question
    from mindport.validate.prompting.compare import compare_runs
    from mindport.validate.prompting.run import PromptRequest, run_prompts
    from mindport.validate.recording.record import Recorded
    from mindport.validate.report.stored import read_verdict
    from mindport.validate.request import Case, Request
    from mindport.validate.verdict import Diagnosis, TapResult, Verdict

else:
    _MODULES = {
        "Case": "request",
        "Diagnosis": "verdict",
        "ParityError": "parity",
        "PromptRequest": "prompting.run",
        "Question": "prompting.asking",
        "Recorded": "recording.record",
        "Request": "request",
        "TapResult": "verdict",
        "Verdict": "verdict",
        "assert_parity": "parity",
        "compare": "api",
        "compare_runs": "prompting.compare",
        "embedded_checkpoint": "checkpoints",
        "load_run": "api",
        "read_verdict": "report.stored",
        "run": "api",
        "run_prompts": "prompting.run",
        "save_case": "api",
        "validate": "api",
    }
    __getattr__ = lazy_names(__name__, _MODULES)

__all__ = [
    "Case",
    "Diagnosis",
    "ParityError",
    "PromptRequest",
    "Question",
    "Recorded",
    "Request",
    "TapResult",
    "Verdict",
    "assert_parity",
    "compare",
    "compare_runs",
    "embedded_checkpoint",
    "load_run",
    "read_verdict",
    "run",
    "run_prompts",
    "save_case",
    "validate",
]
