"""Attention in one kernel, MindSpore's flash attention, in the place of the plain formula.

Only Ascend has such a kernel (``ops.flash_attention_score``, MindSpore 2.10.0: float16 and
bfloat16, heads of a multiple of 16). Nothing here was ever run on one; what is handed to the kernel
is tested with a stand-in of its documented signature.
"""

from __future__ import annotations

from collections.abc import Callable

import mindspore
from mindspore import Tensor, nn, ops

from mindport.migrate.cells.layers import Attention
from mindport.migrate.errors import EnvironmentUnavailableError

DTYPES = (mindspore.float16, mindspore.bfloat16)
_MULTIPLE, _MOST = 16, 512  # of a head's size


class FusedAttention(nn.Cell):
    """Masked softmax attention of several heads, without dropout.

    Args:
        scaling: What the scores are multiplied with.
        kernel: Has the signature of ``ops.flash_attention_score``.
    """

    def __init__(self, scaling: float, kernel: Callable[..., Tensor]) -> None:
        super().__init__()
        self.scaling = float(scaling)
        self.kernel = kernel

    def construct(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the values, mixed as the scores say.

        Args:
            query: ``(batch, heads, query, head_dim)``.
            key: ``(batch, heads, key, head_dim)``.
            value: ``(batch, heads, key, head_dim)``.
            bias: ``(batch or 1, 1, query or 1, key)``, negative where a key is hidden; or None.

        Returns:
            The mixed values ``(batch, heads, query, head_dim)``, and the same twice again where the
            plain formula has scores and weights: the kernel keeps those to itself.
        """
        batch, heads, length, _ = query.shape
        mask = None
        if bias is not None:  # True is what the kernel leaves out
            mask = ops.broadcast_to(bias < 0, (batch, 1, length, key.shape[2]))
        mixed = self.kernel(
            query, key, value, heads, attn_mask=mask, scalar_value=self.scaling,
            input_layout="BNSD",
        )  # fmt: skip
        return mixed, mixed, mixed


def fuse_attention(network: nn.Cell, size: int, kernel: Callable[..., Tensor]) -> None:
    """Replace the plain attention in every block of a network; for inference.

    Args:
        network: One of this package, its parameters already of their dtype.
        size: Of a head.
        kernel: Has the signature of ``ops.flash_attention_score``.

    Raises:
        EnvironmentUnavailableError: If that computes not in this dtype, or not with such heads.
    """
    dtype = next(iter(network.get_parameters())).dtype
    if dtype not in DTYPES:
        raise EnvironmentUnavailableError(
            f"MindSpore's flash attention computes in float16 and bfloat16, not in "
            f"{str(dtype).lower()}.",
            "Use --dtype float16, perhaps with --reference-dtype float32, or --attention eager.",
        )
    if size % _MULTIPLE or size > _MOST:
        raise EnvironmentUnavailableError(
            f"MindSpore's flash attention takes heads whose size is a multiple of {_MULTIPLE}, at "
            f"most {_MOST}; here it is {size}.",
            "Use --attention eager.",
        )
    for _, cell in list(network.cells_and_names()):
        plain = getattr(cell, "attention", None)
        if isinstance(plain, Attention):
            cell.attention = FusedAttention(plain.scaling, kernel)
    network.compile_cache.clear()  # a graph keeps the cells that it was compiled with
