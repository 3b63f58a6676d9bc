"""Run one case on two backends and judge whether they agree."""

from typing import TYPE_CHECKING

from mindport.migrate.lazy import lazy_names

if TYPE_CHECKING:
    from mindport.validate.checkpoints import embedded_checkpoint
    from mindport.validate.pipeline import validate
    from mindport.validate.request import Request
    from mindport.validate.verdict import TapResult, Verdict

else:
    _MODULES = {
        "Request": "request",
        "TapResult": "verdict",
        "Verdict": "verdict",
        "embedded_checkpoint": "checkpoints",
        "validate": "pipeline",
    }
    __getattr__ = lazy_names(__name__, _MODULES)

__all__ = ["Request", "TapResult", "Verdict", "embedded_checkpoint", "validate"]
