"""What a framework says when a device has no kernel for what it was given."""

from __future__ import annotations

import re

from mindport.migrate.errors import EnvironmentUnavailableError

_SAID = {
    "MindSpore": re.compile(
        r"Select \w+ operator\[(?P<name>\w+)\] fail! Unsupported data type!"
        r".*?but get input\[(?:\[[^\]]*\])?\{(?P<given>[^}]*)\}",
        re.DOTALL,
    ),
    "torch": re.compile(r"\"(?P<name>\w+)\" not implemented for '(?P<given>\w+)'"),
}


def missing_kernel(error: Exception) -> EnvironmentUnavailableError | None:
    """Return the error in our words if it says that there is no such kernel; else None.

    Args:
        error: What the network raised while it ran: MindSpore's ``TypeError``, the
            ``NotImplementedError`` or ``RuntimeError`` of torch.
    """
    for framework, pattern in _SAID.items():
        if found := pattern.search(str(error)):
            return EnvironmentUnavailableError(
                f"{framework} has no kernel here for {found['name']} of {found['given']}.",
                "Use another --dtype or another device; if the network is your own, look at what "
                "it gives to this operation.",
            )
    return None
