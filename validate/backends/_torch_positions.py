"""Positions for a model that counts them itself: DistilBERT in ``transformers`` 4."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from mindport.migrate.architecture import Head
from mindport.migrate.errors import EnvironmentUnavailableError

_NAME = "position_ids"


def accept_positions(model: Any, head: Head) -> None:
    """Let a model take ``position_ids``, int64 (batch, seq), if its class does not.

    Such a class reads the positions from a buffer ``position_ids``, (1, longest), up to the length
    of the input; every call puts its own there. Left-padded rows and every other
    numbering then mean the same as in a later ``transformers``.

    Args:
        model: Of ``transformers``; changed in place.
        head: Says whether positions are an input.

    Raises:
        EnvironmentUnavailableError: If no module of the model has such a buffer.
    """
    if _NAME not in head.inputs or _NAME in inspect.signature(type(model).forward).parameters:
        return
    if len(list(_holders(model))) != 1:
        raise EnvironmentUnavailableError(
            f"{type(model).__name__} of this version of transformers takes no {_NAME}, and the "
            "case prescribes them.",
            "Install transformers 5.",
        )
    model.register_forward_pre_hook(_place, with_kwargs=True)


def _place(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    (holder,) = _holders(model)
    setattr(holder, _NAME, kwargs.pop(_NAME))
    return args, kwargs


def _holders(model: Any) -> Iterator[Any]:
    return (module for module in model.modules() if hasattr(module, _NAME))
