"""The gradients of a ``transformers`` model on MindNLP, by MindSpore's own differentiation.

``loss.backward()`` of MindNLP 0.5.1 does nothing, and says nothing: it returns the loss, and every
``grad`` stays None. ``mindspore.value_and_grad`` differentiates what runs below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.validate.backends._mindspore_kernels import reason_of
from mindport.validate.backends._torch_gradients import Gradients


def differentiate(
    mindspore: Any,
    model: Any,
    formula: Gradients,
    inputs: Mapping[str, Any],
    targets: Mapping[str, Any],
) -> tuple[float, dict[str, np.ndarray]]:
    """Return the loss, and the float32 gradient of every parameter by its own name.

    Args:
        mindspore: The module.
        model: In evaluation mode.
        formula: Knows the loss of its head.
        inputs: MindNLP's tensors.
        targets: Likewise.

    Raises:
        EnvironmentUnavailableError: If MindNLP or MindSpore cannot differentiate it.
    """
    named = list(model.named_parameters())

    def loss() -> Any:
        return formula.loss(model, inputs, targets)

    try:
        value, gradients = mindspore.value_and_grad(loss, None, tuple(p for _, p in named))()
    except (RuntimeError, TypeError, ValueError) as error:
        dtype = str(named[0][1].dtype).lower().rpartition(".")[2]
        raise EnvironmentUnavailableError(
            f"MindNLP cannot compute gradients in {dtype} here: {type(error).__name__}: "
            f"{reason_of(error)}.",
            "Leave out --gradients, or use --dtype float32.",
        ) from None
    # What MindSpore gives back is no tensor of MindNLP's, whose ``astype`` it would call in vain.
    arrays = [np.asarray(tensor.asnumpy(), np.float32) for tensor in (value, *gradients)]
    return float(arrays[0]), dict(zip((name for name, _ in named), arrays[1:], strict=True))
