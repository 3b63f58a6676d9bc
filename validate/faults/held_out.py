"""Faults kept from whoever writes the validator, to tell how it does on what it never saw."""

from __future__ import annotations

from mindport.validate.faults.fault import Fault

HELD_OUT: tuple[Fault, ...] = ()
