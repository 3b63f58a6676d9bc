"""P-tuning's encoder: learned vectors, seen through a small network, in float64 NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Parameters = dict[str, np.ndarray]
_START = 0.02  # deviation of the encoder's matrices at the start, as in GPT-2 and BERT


class Encoder:
    """A perceptron with one hidden layer, beside which the vectors pass: ``x + W2 tanh(W1 x)``.

    X. Liu et al., *GPT Understands, Too* (2021), put an LSTM and a perceptron between the learned
    vectors and the network, so that what is learned of one moves the others. Ours is the
    perceptron alone; vectors share its matrices. The vectors pass beside it so that the start is
    close to the embeddings that they are set to.
    """

    @staticmethod
    def start(vectors: np.ndarray, hidden: int, rng: np.random.Generator) -> Parameters:
        """Return the parameters to begin with.

        Args:
            vectors: float64 (n, width).
            hidden: Width of the hidden layer.
            rng: Of the matrices.

        Returns:
            ``vectors`` (n, width), ``weight_1`` (width, hidden), ``bias_1`` (hidden,),
            ``weight_2`` (hidden, width), ``bias_2`` (width,), all float64.
        """
        width = vectors.shape[1]
        return {
            "vectors": vectors.astype(np.float64),
            "weight_1": rng.normal(0, _START, (width, hidden)),
            "bias_1": np.zeros(hidden),
            "weight_2": rng.normal(0, _START, (hidden, width)),
            "bias_2": np.zeros(width),
        }

    @staticmethod
    def forward(parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the vectors for the network, float64 (n, width)."""
        p = parameters
        inner = np.tanh(p["vectors"] @ p["weight_1"] + p["bias_1"])  # (n, hidden)
        result: np.ndarray = p["vectors"] + inner @ p["weight_2"] + p["bias_2"]
        return result

    @staticmethod
    def backward(parameters: Mapping[str, np.ndarray], gradient: np.ndarray) -> Parameters:
        """Return the gradient of every parameter.

        Args:
            parameters: As in :meth:`forward`.
            gradient: (n, width), of the loss by what :meth:`forward` returns.
        """
        p, outer = parameters, gradient.astype(np.float64)
        inner = np.tanh(p["vectors"] @ p["weight_1"] + p["bias_1"])  # (n, hidden)
        before = (outer @ p["weight_2"].T) * (1 - inner**2)  # (n, hidden)
        return {
            "vectors": outer + before @ p["weight_1"].T,
            "weight_1": p["vectors"].T @ before,
            "bias_1": before.sum(axis=0),
            "weight_2": inner.T @ outer,
            "bias_2": outer.sum(axis=0),
        }
