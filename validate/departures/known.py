"""The register: operations that a platform is known to compute otherwise than they are defined.

A departure is a property of the platform, not of a port: whoever ports cannot mend it. Accepting
one (``--accept NAME``) puts its formula in the place of the definition on the candidate's side, so
that everything else is judged as sharply as ever (``docs/tolerance.md``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.validate.formula.activations import Function, gelu_with


@dataclass(frozen=True)
class Departure:
    """What a platform computes instead of an operation.

    Attributes:
        name: How it is asked for.
        framework: Whose kernel it is, as :class:`mindport.validate.backend.Identity` has it.
        device: Where it runs.
        dtypes: In which it was measured.
        versions: Of the framework, in which it was measured.
        operation: What it departs from.
        summary: How, in a few words.
        formula: What it computes, in words.
        functions: The same in float64, as each activation function that rests on it, by name.
        source: Where that is known from.
    """

    name: str
    framework: str
    device: str
    dtypes: tuple[str, ...]
    versions: tuple[str, ...]
    operation: str
    summary: str
    formula: str
    functions: Mapping[str, Function]
    source: str

    @property
    def platform(self) -> str:
        """Where it is known, in words."""
        return f"{self.framework} on {self.device} in {' or '.join(self.dtypes)}"

    def known_of(self, framework: str, device: str, dtype: str) -> bool:
        """Return whether it is known of a platform."""
        return (framework, device) == (self.framework, self.device) and dtype in self.dtypes


def fraction_tanh(x: np.ndarray) -> np.ndarray:
    """Return tanh as MindSpore's CPU kernel computes it: up to 1e-4 off, most where x is near 5.

    Its continued fraction, cut off; beyond 5 the result is one.
    """
    s = x * x
    over = (((s + 378) * s + 17325) * s + 135135) * x
    under = ((28 * s + 3150) * s + 62370) * s + 135135
    return np.where(np.abs(x) > 5, np.sign(x), over / under)


_ALL = (
    Departure(
        name="mindspore-cpu-tanh",
        framework="mindspore",
        device="CPU",
        dtypes=("float32",),
        versions=("2.7.0", "2.10.0"),
        operation="tanh",
        summary="its tanh is the fraction of MindSpore's CPU kernel, up to 1e-4 off near 5",
        formula="x (135135 + 17325 x^2 + 378 x^4 + x^6) / (135135 + 62370 x^2 + 3150 x^4 + "
        "28 x^6), and the sign of x where |x| > 5",
        functions={"tanh": fraction_tanh, "gelu_new": gelu_with(fraction_tanh)},
        source="measured on x86-64: the formula gives the kernel's results to 2.4e-7",
    ),
)
DEPARTURES: Mapping[str, Departure] = {departure.name: departure for departure in _ALL}


def find_departures(
    names: Sequence[str], *, framework: str | None, device: str, dtype: str
) -> tuple[Departure, ...]:
    """Return departures by their names, each once.

    Args:
        names: As asked for.
        framework: That of the candidate; None if it has not run yet.
        device: Where it runs.
        dtype: In which.

    Raises:
        MindportError: If there is none of a name, or it is known of another platform.
    """
    found = []
    for name in dict.fromkeys(names):
        if name not in DEPARTURES:
            raise MindportError(f"There is no departure {name!r}.{did_you_mean(name, DEPARTURES)}")
        departure = DEPARTURES[name]
        if not departure.known_of(framework or departure.framework, device, dtype):
            ran = f"{framework} on {device}" if framework else f"on {device}"
            raise MindportError(
                f"{name} is known of {departure.platform}; the candidate runs {ran} in {dtype}, "
                "of which it is not known.",
                f"Leave out --accept {name}.",
            )
        found.append(departure)
    return tuple(found)
