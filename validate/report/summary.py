"""What every form says of a verdict, in the same words and with the same figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mindport.validate.case import FUSED, SDPA
from mindport.validate.verdict import TapResult, Verdict

State = Literal["ok", "faulty", "follows"]


def state_of(tap: TapResult) -> State:
    """Return whether a tap is right, wrong itself, or wrong because an earlier one is."""
    if tap.ok:
        return "ok"
    return "faulty" if tap.own_fault else "follows"


def fullest_tap(verdict: Verdict) -> TapResult | None:
    """Return the tap that uses most of its tolerance; None if none has figures."""
    known = [tap for tap in verdict.taps if tap.used is not None]
    return max(known, key=lambda tap: tap.used or 0.0, default=None)


def identity_line(identity: Mapping[str, Any]) -> str:
    """Return what ran, in a line."""
    device = identity["device"]
    if device != "CPU" and (used := identity["details"].get("device")):
        device = f"{device}:{used['index']} ({used['name']})"
    said = f"{identity['framework']} {identity['version']}, {device}, {identity['dtype']}"
    attention = identity["attention"]
    return f"{said}, {identity['mode']}" + (
        f", attention by {attention}" if attention in (SDPA, FUSED) else ""
    )


def policy_line(policy: Mapping[str, Any]) -> str:
    """Return which tolerance judged, in a line."""
    if policy["atol"] is not None:
        figures = f"atol {policy['atol']:g}, rtol {policy['rtol']:g}"
        return f"{policy['name']}: {figures}, {policy['basis']}"
    return f"{policy['name']}: {policy['basis']}"


def accepted_line(accepted: Mapping[str, Any]) -> str:
    """Return which departure of the candidate's platform was accepted, in a line."""
    return (
        f"{accepted['name']} ({accepted['status']}): {accepted['operation']} x is "
        f"{accepted['formula']}; {accepted['source']}, {accepted['platform']} "
        f"({', '.join(accepted['versions'])})"
    )


def figure(value: float | None, digits: int = 3) -> str:
    """Return a number to so many digits; a dash for none."""
    return "–" if value is None else f"{value:.{digits}g}"


def share(used: float | None) -> str:
    """Return a share of the tolerance: per cent, or a multiple where it is far outside."""
    if used is None:
        return "–"
    return f"{used:.0%}" if used < 10 else f"{used:.3g} x"
