"""What it adds to an error that a platform's function may jump where the defined one does not.

Rounding may carry an argument over the jump, and then the result is off by its height, however
small the rounding was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mindport.migrate.computation import Activate, Step
from mindport.validate.formula.activations import ACTIVATIONS
from mindport.validate.formula.operations import Setting, function_of


def jump_variance(
    step: Step, inputs: Sequence[np.ndarray], width: np.ndarray, setting: Setting
) -> np.ndarray | float:
    """Return the variance of a step's result where its argument may lie beyond a jump.

    It is that of the difference ``d`` between the platform's function and the defined one, taken
    on both sides of the argument: ``((d(x + w) - d(x - w)) / 2)^2``. Where there is no jump it is
    next to nothing, for ``d`` is small and flat.

    Args:
        step: Which operation.
        inputs: Values of the taps that it reads.
        width: How far an argument may be carried, ``w``.
        setting: Config, model inputs and parameters.
    """
    if not isinstance(step.operation, Activate):
        return 0.0
    name = function_of(step.operation, setting)
    function, defined = setting.functions[name], ACTIVATIONS[name]
    if function is defined:
        return 0.0
    above, below = inputs[0] + width, inputs[0] - width
    rise = function(above) - defined(above) - (function(below) - defined(below))
    result: np.ndarray = np.square(rise / 2)
    return result
