"""Whether a request for an emulation, or for a matrix unit's tolerance, can be met."""

from __future__ import annotations

from mindport.migrate.errors import MindportError
from mindport.validate.emulation.units import find_unit
from mindport.validate.request import Request

BACKEND = "emulated"


def check_unit(request: Request) -> str | None:
    """Return the matrix unit whose rounding the tolerance is to allow for, or None.

    Raises:
        MindportError: If the request contradicts itself.
    """
    if request.emulate is None:
        if request.backend == BACKEND:
            raise MindportError(
                f"--backend {BACKEND} rounds as a matrix unit does, and none is named.",
                "Leave out --backend, and name the unit with --emulate.",
            )
        if request.matmul is not None and request.gradients:
            raise MindportError(
                "The tolerance of gradients is not derived for a matrix unit.",
                "Leave out --gradients or --matmul.",
            )
        return request.matmul
    unit = find_unit(request.emulate)
    default = Request("")
    for option, asked, why in (
        ("--device", request.device != default.device,
         f"nothing runs on {request.device}. To run there and allow for the unit: --device "
         f"{request.device} --matmul {unit.name}"),
        ("--candidate", request.candidate is not None, "a network of your own is not run"),
        ("--taps", request.taps_file is not None, "a network of your own is not run"),
        ("--backend", request.backend not in (default.backend, BACKEND),
         f"{request.backend} is not run"),
        ("--mode", request.mode != default.mode, "there is no graph"),
        ("--python", request.python is not None, "no framework runs the candidate"),
        ("--dtype", request.dtype != default.dtype,
         f"it is {default.dtype} networks whose products {unit.name} rounds"),
        ("--reference-dtype", request.reference_dtype not in (None, default.dtype),
         f"what is predicted is the distance from a {default.dtype} reference"),
        ("--attention", request.attention != default.attention, "there is no kernel"),
        ("--matmul", request.matmul is not None, "the unit's own tolerance is used"),
        ("--gradients", request.gradients, "there is no backward pass"),
    ):  # fmt: skip
        if asked:
            raise MindportError(
                f"--emulate {unit.name} and {option} exclude each other: an emulation computes "
                f"the architecture's steps in NumPy, and {why}.",
                f"Leave out {option}, or --emulate.",
            )
    return unit.name
