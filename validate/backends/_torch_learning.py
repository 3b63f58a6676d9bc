"""A ``transformers`` model that a prompt is learned on: its weights stay as they are."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mindport.migrate.architecture import Head
from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.prompts.learning.model import (
    Learned,
    LearningBatch,
    Sizes,
    fill_slots,
    sum_at_slots,
)

_NAME = "mindport_prefix"


class TorchLearnable:
    """Implements :class:`mindport.prompts.learning.model.LearnableModel`.

    Keys and values of a learned prefix get into every layer through an attention function that is
    registered with ``transformers``, so that no architecture is known here.

    Args:
        torch: The module torch.
        model: A ``transformers`` model in evaluation mode.
        head: Its description.
        sizes: Of the network.
    """

    def __init__(self, torch: Any, model: Any, head: Head, sizes: Sizes) -> None:
        self._torch, self._model, self._head = torch, model, head
        self._logits = head.output_of("logits")
        self._table = model.get_input_embeddings().weight.detach().cpu().numpy().astype(np.float32)
        self.sizes = sizes

    def embeddings(self) -> np.ndarray:
        """Return the table of token embeddings."""
        table: np.ndarray = self._table
        return table

    def wide(self) -> TorchLearnable:
        """Return the same network in float64 on the CPU."""
        model = copy.deepcopy(self._model).to("cpu").double()
        return TorchLearnable(self._torch, model, self._head, self.sizes)

    def gradients(
        self, batch: LearningBatch, learned: Learned
    ) -> tuple[float, np.ndarray, dict[str, np.ndarray]]:
        """Run forward and backward; see the protocol."""
        vectors = self._tensor(fill_slots(self._table, batch, learned))
        prefix = self._tensor(learned["prefix"]) if "prefix" in learned else None
        wanted = {"soft": vectors, "prefix": prefix}
        for name in learned:
            wanted[name].requires_grad_()
        logits = self._label_logits(batch, vectors, prefix)
        labels = self._torch.from_numpy(batch.labels).to(logits.device)
        loss = self._torch.nn.functional.cross_entropy(logits, labels)
        found = self._torch.autograd.grad(loss, [wanted[name] for name in learned])
        gradients = {name: self._array(g) for name, g in zip(learned, found, strict=True)}
        if "soft" in gradients:
            gradients["soft"] = sum_at_slots(gradients["soft"], batch)
        return float(loss.detach()), self._array(logits), gradients

    def logits(self, batch: LearningBatch, learned: Learned) -> np.ndarray:
        """Run forward; see the protocol."""
        vectors = self._tensor(fill_slots(self._table, batch, learned))
        prefix = self._tensor(learned["prefix"]) if "prefix" in learned else None
        with self._torch.no_grad():
            return self._array(self._label_logits(batch, vectors, prefix))

    def _label_logits(self, batch: LearningBatch, vectors: Any, prefix: Any) -> Any:
        device = vectors.device
        arrays = {n: getattr(batch, n) for n in self._head.inputs if n != "input_ids"}
        arrays["position_ids"] = arrays["position_ids"] + self.sizes.first_position
        fed = {name: self._torch.from_numpy(a).to(device) for name, a in arrays.items()}
        rows = self._torch.from_numpy(batch.rows).to(device)
        with self._answer_rows(rows), self._prefixed(prefix):
            output = self._model(inputs_embeds=vectors, return_dict=True, **fed)
        answers = getattr(output, self._logits)  # (batch, vocab)
        columns = self._torch.from_numpy(batch.words.columns).to(device)
        weights = self._tensor(batch.words.weights)
        return answers[:, columns] @ weights.T  # (batch, labels)

    @contextmanager
    def _answer_rows(self, rows: Any) -> Iterator[None]:
        """Let only the row of the answer through the vocabulary head."""

        def keep(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
            hidden = given[0]  # (batch, seq, width)
            return (hidden[self._torch.arange(len(rows), device=hidden.device), rows],)

        handle = self._model.get_output_embeddings().register_forward_pre_hook(keep)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def _prefixed(self, prefix: Any) -> Iterator[None]:
        """Put keys and values before those of every layer.

        Raises:
            EnvironmentUnavailableError: If this ``transformers`` does not call the attention that
                it was told to call, once in every layer.
        """
        if prefix is None:
            yield
            return
        attention = _PrefixAttention(self._torch, prefix)
        before = self._model.config._attn_implementation
        _register(attention)
        self._model.set_attn_implementation(_NAME)
        try:
            yield
        finally:
            self._model.set_attn_implementation(before)
        if attention.calls != self.sizes.layers:
            raise EnvironmentUnavailableError(
                f"This transformers called the attention of a learned prefix {attention.calls} "
                f"times in {self.sizes.layers} layers.",
                "Prefix tuning needs a version whose attention is called through its registry "
                "(4.56 or later for BERT); the other methods do not.",
            )

    def _tensor(self, array: np.ndarray) -> Any:
        parameter = next(self._model.parameters())
        # A copy: autograd and the caller must not share memory.
        return self._torch.tensor(array, dtype=parameter.dtype, device=parameter.device)

    @staticmethod
    def _array(tensor: Any) -> np.ndarray:
        array: np.ndarray = tensor.detach().float().cpu().numpy()
        return array


class _PrefixAttention:
    """The plain formula, with learned keys and values before those of the layer.

    Args:
        torch: The module torch.
        prefix: ``(layers, 2, heads, n, head_dim)``.
    """

    def __init__(self, torch: Any, prefix: Any) -> None:
        self._torch, self._prefix = torch, prefix
        self.calls = 0

    def __call__(
        self,
        module: Any,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any,
        scaling: float | None = None,
        **_: Any,
    ) -> tuple[Any, Any]:
        torch = self._torch
        layer = min(self.calls, len(self._prefix) - 1)  # too many calls are told afterwards
        self.calls += 1
        keys, values = (part.expand(len(key), *part.shape) for part in self._prefix[layer])
        key = torch.cat([keys, key], dim=2)  # (batch, heads, n + seq, head_dim)
        value = torch.cat([values, value], dim=2)
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        scores = query @ key.transpose(2, 3) * scaling  # (batch, heads, seq, n + seq)
        if attention_mask is not None:  # nothing hides the prefix
            scores = scores + torch.nn.functional.pad(attention_mask, (keys.shape[2], 0))
        weights = scores.softmax(-1)
        return (weights @ value).transpose(1, 2).contiguous(), weights


def _register(attention: _PrefixAttention) -> None:
    """Tell ``transformers`` of the attention, and that its masks are those of the plain formula."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(_NAME, attention)
    AttentionMaskInterface.register(_NAME, eager_mask)
