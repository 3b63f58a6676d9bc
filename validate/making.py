"""The case of a request: its inputs, targets and prompts, written where both sides read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mindport.migrate.architecture import Architecture, network_order
from mindport.migrate.errors import MindportError
from mindport.migrate.porting import Prepared
from mindport.migrate.positions import longest_sequence
from mindport.prompts import Plan
from mindport.validate.case import SettledCase, hash_arrays, prompts_folder, save_case
from mindport.validate.inputs import make_inputs, read_inputs
from mindport.validate.prompting.asking import Question, plan_prompts
from mindport.validate.request import Request
from mindport.validate.targets import make_targets

DEFAULT_LENGTH = 64


def make_case(
    architecture: Architecture, request: Request, prepared: Prepared, work: Path
) -> tuple[SettledCase, dict[str, np.ndarray], Plan | None]:
    """Write the case folder; return the case, its inputs and the prompt plan.

    Raises:
        MindportError: If the inputs that are asked for cannot be had.
    """
    config, head = prepared.plan.config, prepared.plan.head
    if request.inputs is not None:
        inputs = read_inputs(request.inputs, architecture, head, config, prepared.source.folder)
    else:
        length = request.length or min(DEFAULT_LENGTH, longest_sequence(architecture, config))
        inputs = make_inputs(
            architecture, head, config, batch=request.batch, length=length, seed=request.seed
        )
    if len(inputs["input_ids"]) > 1 and head.pools_last_token and config["pad_token_id"] is None:
        raise MindportError(
            f"{head.class_name} finds each row's last token by pad_token_id, which the config "
            "does not have.",
            "Use --batch 1, or set pad_token_id in config.json.",
        )
    plan = None
    if request.prompts:
        question = Question(request.prompts, request.prompt_limit, request.shots, request.seed)
        plan = plan_prompts(question, prepared)
    taps = network_order(head.taps, config[architecture.layers])
    targets = {}
    if request.gradients:
        targets = make_targets(architecture, head, config, inputs, request.seed)
    case = SettledCase(
        architecture=architecture.name,
        head=head.name,
        seed=request.seed,
        taps=tuple(t.name for t in taps if not (t.detail and request.blocks_only)),
        inputs=hash_arrays(inputs),
        prompts=plan is not None,
        targets=hash_arrays(targets),
    )
    save_case(work / "case", case, inputs, targets)
    if plan is not None:
        plan.save(prompts_folder(work / "case"))
    return case, inputs, plan
