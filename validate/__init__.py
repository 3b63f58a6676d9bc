"""Run one case on two backends and judge whether they agree."""

from mindport.validate.checkpoints import embedded_checkpoint
from mindport.validate.pipeline import validate
from mindport.validate.request import Request
from mindport.validate.verdict import TapResult, Verdict

__all__ = ["Request", "TapResult", "Verdict", "embedded_checkpoint", "validate"]
