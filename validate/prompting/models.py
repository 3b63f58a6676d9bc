"""A model that answers prompts, in this process."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import MindportError
from mindport.prompts import PromptModel, PromptTokenizer
from mindport.validate.backend import PromptSession, load_backend
from mindport.validate.case import Run, SettledCase
from mindport.validate.checkpoints import EMBEDDED, candidate_folder
from mindport.validate.reference import prepare_reference
from mindport.validate.request import Request


def load_model(
    architecture: str,
    checkpoint: str = EMBEDDED,
    *,
    backend: str = "torch",
    device: str = "CPU",
    dtype: str = "float32",
    mode: str = "eager",
) -> tuple[PromptModel, PromptTokenizer]:
    """Load a model and its tokenizer; the weights are ported if the backend needs it.

    Only one framework is loaded, but into this process: to compare two, use ``prompts run``.

    Args:
        architecture: ``gpt2``, ``bert`` …
        checkpoint: ``embedded``, a path, or a model's name.
        backend: ``torch``, ``mindspore`` …
        device: ``CPU``, ``GPU`` or ``Ascend``.
        dtype: Of weights and computation.
        mode: ``eager`` or ``graph``.

    Raises:
        MindportError: If the checkpoint cannot be used, was not loaded whole, or its head predicts
            no words.
        EnvironmentUnavailableError: If framework or device are not there.
    """
    described = load_architecture(architecture)
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        work = Path(scratch)
        request = Request(architecture, checkpoint=checkpoint)
        prepared = prepare_reference(described, request, work).prepared
        head = prepared.plan.head
        if not head.prompts:
            raise MindportError(f"The head {head.name!r} predicts no words.")
        tokenizer = PromptTokenizer.from_folder(
            prepared.source.folder, vocab_size=prepared.plan.config["vocab_size"]
        )
        loaded = load_backend(backend)
        folder = candidate_folder(prepared, None, loaded.DIALECT, work).folder
        case = SettledCase(architecture, head.name, 0, taps=(), inputs={}, prompts=True)
        session = loaded.open_session(
            Run(backend, str(folder.resolve()), device, dtype, mode, str(work)), case
        )
        report = session.load_report
        if report.missing or report.mismatched:
            raise MindportError(
                f"{len(report.missing) + len(report.mismatched)} parameters were not loaded."
            )
        if not isinstance(session, PromptSession):
            raise MindportError(f"The backend {backend!r} answers no prompts.")
        return session.prompt_model(), tokenizer
