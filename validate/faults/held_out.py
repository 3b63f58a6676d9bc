"""Faults kept from whoever writes the validator, to tell how it does on what it never saw."""

from __future__ import annotations

from mindport.validate.faults.fault import Fault
from mindport.validate.faults.held_out_attention import HELD_OUT_ATTENTION
from mindport.validate.faults.held_out_network import HELD_OUT_NETWORK
from mindport.validate.faults.held_out_weights import HELD_OUT_WEIGHTS

HELD_OUT: tuple[Fault, ...] = (
    *HELD_OUT_WEIGHTS,
    *HELD_OUT_ATTENTION,
    *HELD_OUT_NETWORK,
)
