"""Encoders and the heads that stand on them, for architecture files to be put together from."""

from __future__ import annotations

from dataclasses import dataclass

from mindport.migrate.architecture import Head, Parameter, Tap, Target, Tied
from mindport.migrate.computation import Activate, Project, Step
from mindport.migrate.parts import MaskedWords, dense, linear

_BLOCK = "block.{i}"  # the last one's, where it is an input
LOGITS = Tap("logits", output="logits")


@dataclass(frozen=True)
class Pooler:
    """A dense layer in a module of its own, and an activation, on the first token.

    Attributes:
        module: The dense layer.
        width: Config field of its width.
        activation: What follows.
    """

    module: str
    width: str
    activation: Activate

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters."""
        return dense(self.module, self.width, self.width)

    @property
    def taps(self) -> tuple[Tap, ...]:
        """Its taps."""
        return (
            Tap("pooler.dense", module=self.module, detail=True),
            Tap("pooler", module=self.module.rpartition(".")[0]),
        )

    @property
    def steps(self) -> tuple[Step, ...]:
        """What it computes."""
        project = Project(self.module, bias=self.module, rows="first")
        return (
            Step("pooler.dense", project, (_BLOCK,)),
            Step("pooler", self.activation, ("pooler.dense",)),
        )


@dataclass(frozen=True)
class Encoder:
    """The body that heads stand on.

    Attributes:
        prefix: What stands before its names in a head.
        width: Config field of its width.
        inputs: Names of the model's inputs.
        parameters: Its parameters, without a pooler's.
        taps: Its taps, likewise.
        steps: What it computes, likewise.
    """

    prefix: str
    width: str
    inputs: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    taps: tuple[Tap, ...]
    steps: tuple[Step, ...]

    def alone(self, class_name: str, pooler: Pooler | None = None) -> Head:
        """Return the body without a head, with a pooler if there is one."""
        return Head(
            "none",
            class_name,
            "",
            self.parameters + (pooler.parameters if pooler else ()),
            taps=self.taps + (pooler.taps if pooler else ()),
            steps=self.steps + (pooler.steps if pooler else ()),
            inputs=self.inputs,
            targets=(Target("cotangent", "last_hidden_state", "element", self.width),),
        )

    def fills_masks(
        self,
        class_name: str,
        words: MaskedWords,
        parameters: tuple[Parameter, ...],
        tied: tuple[Tied, ...],
        projection: str,
    ) -> Head:
        """Return the head ``mlm``; the arguments are those of :class:`Head`."""
        return Head(
            "mlm",
            class_name,
            self.prefix,
            self.parameters,
            parameters=parameters,
            tied=tied,
            taps=(*self.taps, *words.taps(), LOGITS),
            steps=self.steps + words.steps(),
            inputs=self.inputs,
            targets=(Target("labels", "logits", classes="vocab_size"),),
            prompts="cloze",
            projection=projection,
        )

    def classifies_sequences(
        self, class_name: str, hidden: str, activation: Activate, out: str = "classifier"
    ) -> Head:
        """Return a head ``sequence-classification`` of two projections of the first token.

        Args:
            class_name: The upstream class.
            hidden: The first projection.
            activation: What follows it.
            out: The second.
        """
        first = Project(hidden, bias=hidden, rows="first")
        return Head(
            "sequence-classification",
            class_name,
            self.prefix,
            self.parameters,
            parameters=dense(hidden, self.width, self.width) + dense(out, "num_labels", self.width),
            taps=(
                *self.taps,
                Tap("head.dense", module=hidden, detail=True, in_body=False),
                Tap("head.activation", module=out, end="input", detail=True, in_body=False),
                LOGITS,
            ),
            steps=(
                *self.steps,
                Step("head.dense", first, (_BLOCK,)),
                Step("head.activation", activation, ("head.dense",)),
                Step("logits", linear(out), ("head.activation",)),
            ),
            inputs=self.inputs,
            targets=(Target("labels", "logits", "sequence"),),
        )

    def classifies_tokens(self, class_name: str, module: str = "classifier") -> Head:
        """Return the head ``token-classification``, one projection."""
        return Head(
            "token-classification",
            class_name,
            self.prefix,
            self.parameters,
            parameters=dense(module, "num_labels", self.width),
            taps=(*self.taps, LOGITS),
            steps=(*self.steps, Step("logits", linear(module), (_BLOCK,))),
            inputs=self.inputs,
            targets=(Target("labels", "logits"),),
        )

    def finds_answers(self, class_name: str, module: str = "qa_outputs") -> Head:
        """Return the head ``question-answering``, one projection whose parts are begin and end."""
        names = ("start_logits", "end_logits")
        return Head(
            "question-answering",
            class_name,
            self.prefix,
            self.parameters,
            parameters=dense(module, "num_labels", self.width),
            taps=(*self.taps, *(Tap(name, output=name) for name in names)),
            steps=(
                *self.steps,
                *(
                    Step(name, Project(module, bias=module, part=(n, 2), squeeze=True), (_BLOCK,))
                    for n, name in enumerate(names)
                ),
            ),
            inputs=self.inputs,
            targets=(
                Target("start_positions", "start_logits", "sequence", "positions", weight=0.5),
                Target("end_positions", "end_logits", "sequence", "positions", weight=0.5),
            ),
        )
