"""Break a ported checkpoint, or a network that has been loaded, on purpose."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import MindportError
from mindport.validate.faults.catalogue import find_fault
from mindport.validate.faults.fault import Fault
from mindport.validate.faults.network import NetworkSite
from mindport.validate.faults.weights import WeightSite

_WEIGHTS, _CONFIG, _MANIFEST = "model.safetensors", "config.json", "manifest.json"


def apply_weight_fault(
    source: Path,
    destination: Path,
    architecture_name: str,
    head_name: str,
    fault: Mapping[str, Any],
) -> Path:
    """Write a ported checkpoint once more, with a fault in it.

    Never in place: MindSpore maps the file that it has loaded. The copy has no manifest, since
    no port of ours wrote it.

    Args:
        source: A folder of ``model.safetensors`` and ``config.json`` in MindSpore's layout.
        destination: The folder to make.
        architecture_name: What was ported.
        head_name: Its head.
        fault: ``name``, and if need be ``block``, ``severity`` and ``seed``.

    Returns:
        The folder.

    Raises:
        MindportError: If there is no such fault of the weights, or it does not fit.
    """
    site = WeightSite(
        load_architecture(architecture_name),
        load_architecture(architecture_name).heads[head_name],
        json.loads((source / _CONFIG).read_text(encoding="utf-8")),
        dict(load_file(str(source / _WEIGHTS))),
        0,
        None,
        np.random.default_rng(int(fault.get("seed") or 0)),
    )
    apply_to_weights(site, _find(fault, ("weights",), architecture_name, head_name), fault)
    leave = shutil.ignore_patterns(_WEIGHTS, _CONFIG, _MANIFEST)
    shutil.copytree(source, destination, ignore=leave)
    tensors = {name: np.ascontiguousarray(array) for name, array in site.tensors.items()}
    save_file(tensors, str(destination / _WEIGHTS))
    text = json.dumps(site.config, indent=2) + "\n"
    (destination / _CONFIG).write_text(text, encoding="utf-8")
    return destination


def apply_to_weights(site: WeightSite, fault: Fault, choice: Mapping[str, Any]) -> None:
    """Apply a fault to weights in memory; the choice is that of :func:`apply_weight_fault`."""
    site.tap = fault.tap
    site.block = _block(fault, choice)
    site.severity = _severity(fault, choice)
    fault.apply(site)


def apply_network_fault(
    mindspore: Any,
    network: Any,
    architecture_name: str,
    head_name: str,
    fault: Mapping[str, Any],
) -> None:
    """Break a loaded network in place; it shows in eager mode alone.

    Args:
        mindspore: The package.
        network: One of our networks, its weights loaded.
        architecture_name: What it is.
        head_name: Its head.
        fault: ``name``, and if need be ``block`` and ``severity``.

    Raises:
        MindportError: If there is no such fault of a network or its gradients, it does not fit, or
            the network runs as a graph, which would be compiled without it.
    """
    found = _find(fault, ("network", "backward"), architecture_name, head_name)
    if mindspore.get_context("mode") != mindspore.PYNATIVE_MODE:
        raise MindportError(
            f"The fault {found.name!r} can only be shown in eager mode.", "Run with --mode eager."
        )
    architecture = load_architecture(architecture_name)
    found.apply(
        NetworkSite(
            mindspore,
            network,
            architecture,
            architecture.heads[head_name],
            _block(found, fault),
            _severity(found, fault),
            found.tap,
        )
    )


def _block(fault: Fault, choice: Mapping[str, Any]) -> int:
    return int(choice.get("block") or 0) if fault.per_block else 0


def _severity(fault: Fault, choice: Mapping[str, Any]) -> float | None:
    severity = choice.get("severity")
    return fault.severity if severity is None else float(severity)


def _find(fault: Mapping[str, Any], kinds: tuple[str, ...], architecture: str, head: str) -> Fault:
    found = find_fault(str(fault["name"]))
    if found.kind not in kinds:
        raise MindportError(
            f"{found.name!r} is a fault of the {found.kind}, not of the {kinds[0]}."
        )
    if not found.fits(load_architecture(architecture), head):
        raise MindportError(f"The fault {found.name!r} does not fit {architecture} ({head}).")
    return found
