"""What a prompt answers without content, to be taken out of what it answers with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from mindport.migrate.errors import MindportError, did_you_mean

Kind = Literal["none", "contextual", "domain", "pmi"]
CONTENT_FREE = ("N/A", "", "[MASK]")


@dataclass(frozen=True)
class Calibration:
    """A prior over the labels, from inputs whose labels are not known.

    - ``contextual``: the inputs have no content; a label's score is its log-probability less the
      logarithm of its mean probability over the inputs, both among the labels (T. Zhao et al.,
      *Calibrate Before Use*, ICML 2021, with their diagonal matrix).
    - ``domain``: the same, over unlabelled texts of the domain (the support set of S. Hu et al.,
      *Knowledgeable Prompt-tuning*, ACL 2022).
    - ``pmi``: a word's score less its score after one input without content (A. Holtzman et al.,
      *Surface Form Competition*, EMNLP 2021).

    Attributes:
        kind: Which.
        inputs: The texts that stand at ``[X]``, and at the other fields.

    Raises:
        MindportError: If the kind is unknown, or its number of inputs is not allowed.
    """

    kind: Kind = "none"
    inputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = get_args(Kind)
        if self.kind not in known:
            raise MindportError(
                f"Unknown calibration {self.kind!r}.{did_you_mean(str(self.kind), known)}"
            )
        given: Any = self.inputs  # one text is a sequence of texts too
        if not isinstance(given, list | tuple) or not all(isinstance(text, str) for text in given):
            raise MindportError(
                f"The inputs of a calibration must be a list of texts, not {self.inputs!r}.",
                'Write them in quotes, in brackets: ["N/A"].',
            )
        if self.kind == "none" and self.inputs:
            raise MindportError(
                "Inputs are given, but no calibration.", "Name its kind, or leave the inputs out."
            )
        object.__setattr__(self, "inputs", tuple(self.inputs) or self._usual_inputs())
        if self.kind == "pmi" and len(self.inputs) != 1:
            raise MindportError(
                f"A pmi calibration has one input, not {len(self.inputs)}.",
                'Give one text without content, such as "N/A".',
            )
        if self.kind == "domain" and not self.inputs:
            raise MindportError(
                "A domain calibration needs texts of the domain.", "Give some as its inputs."
            )

    def _usual_inputs(self) -> tuple[str, ...]:
        return {"contextual": CONTENT_FREE, "pmi": CONTENT_FREE[:1]}.get(self.kind, ())
