"""What goes wrong with weights on their way: changes that a fault puts together.

Each takes a :class:`mindport.validate.faults.weights.WeightSite`; where no place is given, the
parameters are those of the tap at which the fault first shows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mindport.migrate.architecture import Architecture, Head, Kind
from mindport.migrate.dialect import MINDSPORE
from mindport.migrate.expected import expected_parameters
from mindport.validate.faults.fault import KEY, QUERY, VALUE, Place
from mindport.validate.faults.rounding import keep_bits
from mindport.validate.faults.weights import WeightSite

Change = Callable[[WeightSite], None]
STANDARD_DEVIATION = 0.02  # of a fresh network


def transpose_matrix(site: WeightSite) -> None:
    """Store a square matrix in the other order."""
    site.set_matrix(site.matrix().T)


def read_in_other_order(site: WeightSite) -> None:
    """Take ``(in, out)`` for ``(out, in)`` by a reshape where a transpose was needed."""
    matrix = site.matrix()
    site.set_matrix(np.ascontiguousarray(matrix.T).reshape(matrix.shape))


def swap_projections(first: Place, second: Place) -> Change:
    """Return what exchanges two projections of one shape, biases included."""

    def change(site: WeightSite) -> None:
        matrices, biases = (
            [read(first), read(second)] for read in (site.matrix, site.bias)
        )  # copies, so the order of writing does not matter
        for place, matrix, bias in zip((second, first), matrices, biases, strict=True):
            site.set_matrix(matrix, place)
            site.set_bias(bias, place)

    return change


def fuse_by_head(site: WeightSite) -> None:
    """Cut a matrix that is fused head by head, as Megatron's, into plain thirds."""
    places = (QUERY, KEY, VALUE)
    for read, write in ((site.matrix, site.set_matrix), (site.bias, site.set_bias)):
        parts = np.stack([read(place) for place in places])  # (3, width, …)
        by_head = parts.reshape(3, site.heads, -1, *parts.shape[2:]).swapaxes(0, 1)
        for place, part in zip(places, by_head.reshape(parts.shape), strict=True):
            write(part, place)


def take_from_next_block(site: WeightSite) -> None:
    """Put the projection of the next block (of the first one, after the last) here."""
    other = site.at_block(site.block + 1)
    site.set_matrix(other.matrix())
    site.set_bias(other.bias())


def drop_bias(site: WeightSite) -> None:
    """Leave a projection's bias at zero."""
    site.set_bias(np.zeros_like(site.bias()))


def drop_shift(site: WeightSite) -> None:
    """Leave a norm's shift at zero."""
    scale, shift = site.norm()
    site.set_norm(scale, np.zeros_like(shift))


def drop_scale(site: WeightSite) -> None:
    """Leave a norm's scale at one."""
    scale, shift = site.norm()
    site.set_norm(np.ones_like(scale), shift)


def swap_norm_parameters(site: WeightSite) -> None:
    """Load a norm's scale as its shift and the shift as its scale."""
    scale, shift = site.norm()
    site.set_norm(shift, scale)


def change_one_element_of_bias(site: WeightSite) -> None:
    """Change one element of a bias by the severity."""
    bias = site.bias()
    bias[len(bias) // 2] += site.amount
    site.set_bias(bias)


def randomise_matrix(site: WeightSite) -> None:
    """Leave a matrix as a fresh network has it."""
    matrix = site.matrix()
    site.set_matrix(_fresh(site, matrix))


def randomise_body(site: WeightSite) -> None:
    """Leave the whole body as a fresh network has it, and load the head alone."""
    for name, kind in _kinds(site.architecture, site.head, site).items():
        if not name.startswith(site.head.prefix):
            continue
        stored = site.tensors[name]
        if kind in (Kind.BIAS, Kind.NORM_BIAS):
            site.tensors[name] = np.zeros_like(stored)
        elif kind is Kind.NORM_WEIGHT:
            site.tensors[name] = np.ones_like(stored)
        else:
            site.tensors[name] = _fresh(site, stored)


def scale_matrix(site: WeightSite) -> None:
    """Multiply a matrix by the severity."""
    matrix = site.matrix()
    site.set_matrix(matrix * matrix.dtype.type(site.amount))


def add_noise(site: WeightSite) -> None:
    """Add noise of the severity, relative to the matrix's root mean square."""
    matrix = site.matrix()
    size = site.amount * np.sqrt(np.mean(np.square(matrix)))
    site.set_matrix((matrix + site.rng.normal(0, size, matrix.shape)).astype(matrix.dtype))


def zero_input(site: WeightSite) -> None:
    """Zero a column, and with it one input, of a matrix."""
    matrix = site.matrix()
    matrix[:, matrix.shape[1] // 3] = 0
    site.set_matrix(matrix)


def round_checkpoint(site: WeightSite) -> None:
    """Round every tensor to as many bits of mantissa as the severity says."""
    for name, stored in site.tensors.items():
        site.tensors[name] = keep_bits(stored, int(site.amount))


def shift_rows(ids: str, by: int) -> Change:
    """Return what shifts the rows of an embedding table, ``by`` rows down."""

    def change(site: WeightSite) -> None:
        site.set_table(ids, np.roll(site.table(ids), by, axis=0))

    return change


def untie_head(site: WeightSite) -> None:
    """Give the head a fresh matrix of its own instead of the embeddings'."""
    tied = dict(site.tensors)
    for sharing in site.head.tied:
        kind, owner = sharing.parameter.kind, MINDSPORE.spell(sharing.to, sharing.to_kind)
        array = tied[owner].copy() if kind is Kind.BIAS else _fresh(site, tied[owner])
        site.tensors[MINDSPORE.spell(sharing.parameter.module, kind)] = array
    site.config["tie_word_embeddings"] = False


def _fresh(site: WeightSite, like: np.ndarray) -> np.ndarray:
    return site.rng.normal(0, STANDARD_DEVIATION, like.shape).astype(like.dtype)


def _kinds(architecture: Architecture, head: Head, site: WeightSite) -> dict[str, Kind]:
    expected = expected_parameters(architecture, head, site.resolved, MINDSPORE)
    return {item.spell(MINDSPORE): item.parameter.kind for item in expected}
