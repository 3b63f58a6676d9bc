"""Faults of a port, put in on purpose: how the validator itself is tested.

No framework is imported here; a fault of a network is handed the framework that runs it.
"""

from mindport.validate.faults.apply import apply_network_fault, apply_weight_fault
from mindport.validate.faults.backward_faults import BACKWARD_FAULTS
from mindport.validate.faults.catalogue import FAULTS, all_faults, find_fault
from mindport.validate.faults.fault import Fault
from mindport.validate.faults.held_out import HELD_OUT

__all__ = [
    "BACKWARD_FAULTS",
    "FAULTS",
    "HELD_OUT",
    "Fault",
    "all_faults",
    "apply_network_fault",
    "apply_weight_fault",
    "find_fault",
]
