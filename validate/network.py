"""The mathematics of a case: its steps, and what they are done to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mindport.migrate.architecture import network_order
from mindport.migrate.computation import Step, network_steps
from mindport.migrate.expected import is_tied
from mindport.migrate.porting import Prepared
from mindport.validate.formula.operations import Setting
from mindport.validate.formula.weights import Weights


@dataclass(frozen=True)
class Network:
    """The mathematics of a case.

    Attributes:
        steps: Of the head, filled in.
        setting: Config, model inputs and parameters of the reference.
        details: Taps that lie inside a block or head.
        tied: Modules of matrices that are the embeddings'.
    """

    steps: tuple[Step, ...]
    setting: Setting
    details: frozenset[str]
    tied: frozenset[str]


def describe_network(prepared: Prepared, inputs: Mapping[str, np.ndarray], dtype: str) -> Network:
    """Return the mathematics of the network that a plan ports.

    Args:
        prepared: The plan of the reference's port.
        inputs: The model's inputs.
        dtype: Of the run.
    """
    plan = prepared.plan
    layers = plan.config[plan.architecture.layers]
    weights = Weights(plan.architecture, plan.head, plan.config, prepared.source, dtype)
    return Network(
        steps=tuple(network_steps(plan.head.steps, layers)),
        setting=Setting(plan.config, inputs, weights),
        details=frozenset(t.name for t in network_order(plan.head.taps, layers) if t.detail),
        tied=frozenset(t.parameter.module for t in plan.head.tied if is_tied(t, plan.config)),
    )
