"""The one place that reads a device's name: ``Ascend:1``, ``gpu``, ``cuda:0``, ``npu``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.validate.case import DEVICES

_ALIASES = {
    "cpu": "CPU",
    "gpu": "GPU",
    "cuda": "GPU",
    "nvidia": "GPU",
    "ascend": "Ascend",
    "npu": "Ascend",
    "davinci": "Ascend",
}
_FORM = re.compile(r"(?P<kind>[A-Za-z]+)(?::(?P<index>\d{1,4}))?")


@dataclass(frozen=True)
class Device:
    """A device that a side runs on.

    Attributes:
        kind: ``CPU``, ``GPU`` or ``Ascend``.
        index: Which of several; 0 is the first. None leaves it to the framework, which takes
            the first.
    """

    kind: str
    index: int | None = None

    @property
    def number(self) -> int:
        """The index, or that of the first."""
        return self.index or 0

    def __str__(self) -> str:
        return self.kind if self.index is None else f"{self.kind}:{self.index}"


def parse_device(text: str) -> Device:
    """Return the device that a text names, in any capitals.

    Args:
        text: ``CPU``, ``GPU``, ``Ascend``, or what PyTorch calls them (``cuda``, ``npu``), with an
            index behind a colon if there are several.

    Raises:
        MindportError: If it names none.
    """
    match = _FORM.fullmatch(text.strip())
    kind = _ALIASES.get(match["kind"].lower()) if match else None
    if match is None or kind is None:
        raise MindportError(
            f"{text!r} is not a device.{did_you_mean(text.partition(':')[0], DEVICES)}",
            "Write a kind and, if there are several, which: Ascend:1.",
        )
    index = None if match["index"] is None else int(match["index"])
    if kind == "CPU":
        if index:
            raise MindportError(f"{text!r} is not a device: there is one CPU.", "Write CPU.")
        index = None
    return Device(kind, index)
