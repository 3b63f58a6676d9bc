"""Tensors that differ by the number of their layer alone: one decision for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase

from mindport.migrate.checkpoints.tensors import DTYPES, TensorInfo

Index = tuple[int, ...]

_WEIGHT, _BIAS = "weight", "bias"
_ROLES = {
    "weight": _WEIGHT,
    "gamma": _WEIGHT,
    "embedding_table": _WEIGHT,
    "bias": _BIAS,
    "beta": _BIAS,
}


@dataclass(frozen=True)
class Group:
    """The tensors of one name pattern.

    Attributes:
        pattern: The name with ``{i}``, ``{j}`` … for numbers.
        shape: Of each.
        dtype: Of each.
        names: The tensors' names by their numbers.
    """

    pattern: str
    shape: tuple[int, ...]
    dtype: str
    names: Mapping[Index, str] = field(compare=False)

    @property
    def module(self) -> str:
        """The pattern of the module that it belongs to; of an unknown kind of name, all of it."""
        stem, _, last = self.pattern.rpartition(".")
        return stem if last in _ROLES else self.pattern

    @property
    def role(self) -> str:
        """``weight``, ``bias``, or empty where the name does not say."""
        return _ROLES.get(self.pattern.rpartition(".")[2], "")

    @property
    def floating(self) -> bool:
        """Whether it holds numbers that may have been learned."""
        return DTYPES[self.dtype].floating

    @property
    def indices(self) -> frozenset[Index]:
        """The numbers for which there is one."""
        return frozenset(self.names)


_Item = tuple[tuple[str, ...], Index, str]  # what is left of a name, its numbers, the name


def group_tensors(infos: Mapping[str, TensorInfo]) -> list[Group]:
    """Return the tensors by pattern, in the order of the first of each.

    A number in a name stands for a layer where all numbers from 0 to some last one, at least 1,
    have the same tensors of the same shapes below them; other numbers are words.
    """
    found: dict[str, dict[Index, str]] = {}
    items = [(tuple(name.split(".")), (), name) for name in infos]
    _walk(items, (), infos, found)
    groups = []
    for pattern, names in found.items():
        info = infos[next(iter(names.values()))]
        groups.append(Group(pattern, info.shape, info.dtype, names))
    place = {name: number for number, name in enumerate(infos)}
    return sorted(groups, key=lambda group: min(place[name] for name in group.names.values()))


def _walk(
    items: Sequence[_Item],
    done: tuple[str, ...],
    infos: Mapping[str, TensorInfo],
    found: dict[str, dict[Index, str]],
) -> None:
    by_word: dict[str, list[_Item]] = {}
    for (word, *rest), index, name in items:
        if rest:
            by_word.setdefault(word, []).append((tuple(rest), index, name))
        else:
            found.setdefault(".".join((*done, word)), {})[index] = name
    numbers = sorted((word for word in by_word if word.isdecimal()), key=int)
    if _are_layers(numbers, by_word, infos):
        letter = ascii_lowercase[8 + sum(word.startswith("{") for word in done)]
        layers = [
            (rest, (*index, int(number)), name)
            for number in numbers
            for rest, index, name in by_word.pop(number)
        ]
        _walk(layers, (*done, f"{{{letter}}}"), infos, found)
    for word, below in by_word.items():
        _walk(below, (*done, word), infos, found)


def _are_layers(
    numbers: Sequence[str], by_word: Mapping[str, list[_Item]], infos: Mapping[str, TensorInfo]
) -> bool:
    if len(numbers) < 2 or list(numbers) != [str(number) for number in range(len(numbers))]:
        return False
    contents = {
        frozenset((rest, index, infos[name]) for rest, index, name in by_word[number])
        for number in numbers
    }
    return len(contents) == 1
