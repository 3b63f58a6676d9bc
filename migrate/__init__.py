"""Port weights between PyTorch and MindSpore: names, layouts, dtypes and heads."""

from mindport.migrate.errors import MindportError
from mindport.migrate.plan import Entry, Plan
from mindport.migrate.porting import Prepared, port, prepare

__all__ = ["Entry", "MindportError", "Plan", "Prepared", "port", "prepare"]
