"""The mathematics of a case: its steps, and what they are done to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mindport.migrate.architecture import Architecture, Head, network_order
from mindport.migrate.computation import Step, network_steps
from mindport.migrate.expected import is_tied
from mindport.migrate.porting import Prepared
from mindport.validate.formula.operations import Setting
from mindport.validate.formula.weights import AbsentWeights, Weights


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
    weights = Weights(plan.architecture, plan.head, plan.config, prepared.source, dtype)
    return outline_network(plan.architecture, plan.head, plan.config, inputs, weights)


def outline_network(
    architecture: Architecture,
    head: Head,
    config: Mapping[str, Any],
    inputs: Mapping[str, np.ndarray],
    weights: Weights | None = None,
) -> Network:
    """Return the mathematics of a network; without weights it cannot be computed.

    Args:
        architecture: The description.
        head: Its head.
        config: The resolved config.
        inputs: The model's inputs.
        weights: The parameters.
    """
    layers = config[architecture.layers]
    return Network(
        steps=tuple(network_steps(head.steps, layers)),
        setting=Setting(config, inputs, weights or AbsentWeights()),
        details=frozenset(t.name for t in network_order(head.taps, layers) if t.detail),
        tied=frozenset(t.parameter.module for t in head.tied if is_tied(t, config)),
    )
