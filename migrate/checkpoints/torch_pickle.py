"""Read the pickle in a ``torch.save`` file without running it.

A pickle is a program. Python's unpickler can be told which functions it may call, but it still
lets a file claim any amount of memory, and change what those functions return. So the few
instructions that describe tensors are carried out here, and all others are refused by name.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindport.migrate.checkpoints.limits import show
from mindport.migrate.checkpoints.tensors import BY_TORCH
from mindport.migrate.errors import CheckpointError

MAX_INSTRUCTIONS = 2_000_000
"""60,000 tensors need as many."""
MAX_DEPTH = 100
"""Of things within things; torch needs four."""

# People wrap the state dict under one of these names.
_WRAPPERS = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True)
class Storage:
    """A block of elements that tensors look at.

    Attributes:
        key: The member ``data/KEY`` of the archive.
        dtype: One of our dtypes.
        count: The number of elements.
    """

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class View:
    """A tensor: a way to look at a storage.

    Attributes:
        storage: The elements.
        offset: Where it starts.
        shape: Its axes.
        stride: For each axis, how many elements the next one is away.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class _Global:
    module: str
    name: str


_DICT = _Global("collections", "OrderedDict")
_TENSOR = _Global("torch._utils", "_rebuild_tensor_v2")
_PARAMETER = _Global("torch._utils", "_rebuild_parameter")
_STORAGES: Mapping[_Global, str] = {
    _Global("torch", f"{prefix}Storage"): dtype.name for prefix, dtype in BY_TORCH.items()
}


def read_state_dict(data: bytes, path: Path) -> dict[str, View]:
    """Return the tensors that a pickle describes.

    Args:
        data: The pickle.
        path: The file, for messages.

    Raises:
        CheckpointError: If it is damaged or holds anything but tensors.
    """
    machine = _Machine(path)
    try:
        return _state_dict(machine.run(data), path)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"{path}: its table of tensors is damaged ({type(error).__name__}: "
            f"{show(str(error))}).",
            "Fetch or write the file again.",
        ) from None


class _Machine:
    """A stack machine, as ``pickletools`` documents it; containers never serve as keys."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(data)):
            if count == MAX_INSTRUCTIONS:
                raise CheckpointError(f"{self.path}: its table of tensors is too long.")
            if opcode.name in _CONSTANTS:
                self.push(argument)
            elif opcode.name in _INSTRUCTIONS:
                _INSTRUCTIONS[opcode.name](self, argument)
            else:
                raise CheckpointError(
                    f"{self.path}: its pickle says {opcode.name} at byte {position}, which "
                    "torch.save does not write for tensors; it was not loaded."
                )
        return self.stack.pop()

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def memoize(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def mark(self) -> None:
        if len(self.marked) == MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        self.marked.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def tuple_of(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) != count:
            raise ValueError("the stack is empty")
        del self.stack[-count:]
        self.push(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("items for something that is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str) and not (isinstance(key, int) and abs(key) < 1 << 63):
                raise ValueError(f"a dict's key is {type(key).__name__}")
            if key in target:
                raise ValueError(f"the key {show(key)} stands twice")
            target[key] = value

    def extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("items for something that is not a list")
        self.stack[-1].extend(items)

    def find(self, module: Any, name: Any) -> None:
        found = _Global(module, name)
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("the name of a function is not text")
        if found not in (_DICT, _TENSOR, _PARAMETER) and found not in _STORAGES:
            full = f"{module}.{name}"
            if module == "torch" and name.endswith("Storage"):
                raise CheckpointError(
                    f"{self.path} holds tensors of the type {show(full)}, which cannot be ported."
                )
            raise CheckpointError(
                f"{self.path} holds {show(full).strip(chr(39))}, which is not a tensor; it was "
                "not loaded.",
                "A pickle can run code. Save a plain state dict (torch.save(model.state_dict(), "
                "PATH)) or, better, safetensors.",
            )
        self.push(found)

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if function == _DICT and arguments == ():
            self.push({})
        elif function == _TENSOR:
            storage, offset, shape, stride, *_ = arguments
            if not isinstance(storage, Storage) or not all(
                isinstance(sizes, tuple) and all(type(size) is int for size in sizes)
                for sizes in ((offset,), shape, stride)
            ):
                raise ValueError("a tensor is described by nonsense")
            self.push(View(storage, offset, shape, stride))
        elif function == _PARAMETER and isinstance(arguments[0], View):
            self.push(arguments[0])
        else:
            raise ValueError("a call that torch does not write")

    def build(self) -> None:
        """Drop what is attached to a dict: torch attaches the versions of modules."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise ValueError("attributes for something that is not a dict")

    def storage(self) -> None:
        match self.stack.pop():
            case ("storage", _Global() as kind, str(key), str(), int(count)) if kind in _STORAGES:
                self.push(Storage(key, _STORAGES[kind], count))
            case _:
                raise CheckpointError(
                    f"{self.path} holds a storage record that torch does not write."
                )


_CONSTANTS = {
    "NONE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES",
}  # fmt: skip

_INSTRUCTIONS: Mapping[str, Callable[[_Machine, Any], object]] = {
    "PROTO": lambda m, arg: None,
    "FRAME": lambda m, arg: None,
    "STOP": lambda m, arg: None,
    "MARK": lambda m, arg: m.mark(),
    "NEWTRUE": lambda m, arg: m.push(True),
    "NEWFALSE": lambda m, arg: m.push(False),
    "EMPTY_TUPLE": lambda m, arg: m.push(()),
    "EMPTY_LIST": lambda m, arg: m.push([]),
    "EMPTY_DICT": lambda m, arg: m.push({}),
    "TUPLE": lambda m, arg: m.push(tuple(m.since_mark())),
    "TUPLE1": lambda m, arg: m.tuple_of(1),
    "TUPLE2": lambda m, arg: m.tuple_of(2),
    "TUPLE3": lambda m, arg: m.tuple_of(3),
    "APPEND": lambda m, arg: m.extend([m.stack.pop()]),
    "APPENDS": lambda m, arg: m.extend(m.since_mark()),
    "SETITEM": lambda m, arg: m.set_items([m.stack.pop(-2), m.stack.pop()]),
    "SETITEMS": lambda m, arg: m.set_items(m.since_mark()),
    "BINPUT": lambda m, arg: m.memoize(arg),
    "LONG_BINPUT": lambda m, arg: m.memoize(arg),
    "MEMOIZE": lambda m, arg: m.memoize(len(m.memo)),
    "BINGET": lambda m, arg: m.push(m.memo[arg]),
    "LONG_BINGET": lambda m, arg: m.push(m.memo[arg]),
    "GLOBAL": lambda m, arg: m.find(*arg.split(" ", 1)),
    "STACK_GLOBAL": lambda m, arg: m.find(m.stack.pop(-2), m.stack.pop()),
    "REDUCE": lambda m, arg: m.call(),
    "BUILD": lambda m, arg: m.build(),
    "BINPERSID": lambda m, arg: m.storage(),
}


def _state_dict(content: Any, path: Path) -> dict[str, View]:
    if isinstance(content, dict):
        for wrapper in _WRAPPERS:
            if isinstance(content.get(wrapper), dict):
                content = content[wrapper]
                break
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} holds {type(content).__name__}, not a state dict (a dict of tensors)."
        )
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, View):
            raise CheckpointError(
                f"{path}: the entry {show(name)} is {type(value).__name__}, not a tensor.",
                "Save the state dict alone: torch.save(model.state_dict(), PATH).",
            )
    return content
