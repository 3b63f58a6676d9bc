"""Port weights between PyTorch and MindSpore: names, layouts, dtypes and heads."""

from typing import TYPE_CHECKING

from mindport.migrate.lazy import lazy_names

if TYPE_CHECKING:
    from mindport.migrate.entry import Entry
    from mindport.migrate.errors import CheckpointError, EnvironmentUnavailableError, MindportError
    from mindport.migrate.options import Options, Written
    from mindport.migrate.plan import Plan
    from mindport.migrate.porting import Prepared, convert, port, prepare
    from mindport.migrate.progress import Progress
    from mindport.migrate.report import migration_report

else:
    _MODULES = {
        "CheckpointError": "errors",
        "Entry": "entry",
        "EnvironmentUnavailableError": "errors",
        "MindportError": "errors",
        "Options": "options",
        "Plan": "plan",
        "Prepared": "porting",
        "Progress": "progress",
        "Written": "options",
        "convert": "porting",
        "migration_report": "report",
        "port": "porting",
        "prepare": "porting",
    }
    __getattr__ = lazy_names(__name__, _MODULES)

__all__ = [
    "CheckpointError",
    "Entry",
    "EnvironmentUnavailableError",
    "MindportError",
    "Options",
    "Plan",
    "Prepared",
    "Progress",
    "Written",
    "convert",
    "migration_report",
    "port",
    "prepare",
]
