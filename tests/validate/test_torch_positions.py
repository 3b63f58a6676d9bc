"""A model whose class counts positions itself is given those of the case."""

from __future__ import annotations

import copy

import pytest

from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import EnvironmentUnavailableError

torch = pytest.importorskip("torch")

from mindport.validate.backends._torch_positions import accept_positions  # noqa: E402

HEAD = load_architecture("distilbert").heads["mlm"]


class Counting(torch.nn.Module):
    """Looks positions up as DistilBERT of transformers 4 does."""

    def __init__(self, buffer: bool = True) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(16, 3)
        if buffer:
            self.register_buffer("position_ids", torch.arange(16)[None], persistent=False)

    def forward(self, input_ids):
        return self.table(self.position_ids[:, : input_ids.shape[1]])


class Taking(Counting):
    def forward(self, input_ids, position_ids):
        return self.table(position_ids)


def test_each_call_uses_the_positions_that_it_is_given():
    model = Counting()
    accept_positions(model, HEAD)
    ids = torch.zeros((2, 4), dtype=torch.int64)
    for used in (model, copy.deepcopy(model), model.double()):
        for first in (0, 5):
            positions = torch.tensor([[0, 1, 2, 3], [3, 1, 0, 2]]) + first
            assert torch.equal(
                used(input_ids=ids, position_ids=positions), used.table.weight[positions]
            )


def test_a_class_that_takes_positions_is_left_alone():
    model = Taking()
    accept_positions(model, HEAD)
    assert not model._forward_pre_hooks


def test_a_class_without_either_cannot_run_the_case():
    with pytest.raises(EnvironmentUnavailableError, match="takes no position_ids"):
        accept_positions(Counting(buffer=False), HEAD)
