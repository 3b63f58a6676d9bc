"""The faults that the validator must catch: those that it was made with, and those kept from it."""

from __future__ import annotations

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.validate.faults.backward_faults import BACKWARD_FAULTS
from mindport.validate.faults.fault import Fault
from mindport.validate.faults.held_out import HELD_OUT
from mindport.validate.faults.network_faults import NETWORK_FAULTS
from mindport.validate.faults.weight_faults import WEIGHT_FAULTS

FAULTS: tuple[Fault, ...] = (*WEIGHT_FAULTS, *NETWORK_FAULTS)


def all_faults() -> tuple[Fault, ...]:
    """Return every fault that a tap shows: those for development, then those held out."""
    return (*FAULTS, *HELD_OUT)


def find_fault(name: str) -> Fault:
    """Return the fault of this name.

    Raises:
        MindportError: If there is none.
    """
    for fault in (*all_faults(), *BACKWARD_FAULTS):
        if fault.name == name:
            return fault
    names = [fault.name for fault in FAULTS]  # a list of the others would give them away
    raise MindportError(f"There is no fault {name!r}.{did_you_mean(name, names)}")
