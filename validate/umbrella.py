"""``mindport``: the commands under one name that no other distribution uses."""

from __future__ import annotations

from mindport.migrate.cli import main as migrate
from mindport.migrate.commands import Group, version_option
from mindport.prompts.cli import main as prompts
from mindport.validate.cli import main as validate
from mindport.validate.completion import completion_command
from mindport.validate.learning.cli import learn
from mindport.validate.prompting.cli import compare, run

main = Group(
    "mindport",
    params=[version_option()],
    help="Port language models from PyTorch to MindSpore, and prove that the port is right.",
    examples={
        "mindport migrate gpt2 ./gpt2-hf ./gpt2-ms": "port weights",
        "mindport validate gpt2 --checkpoint ./gpt2-hf": "compare every layer, and judge",
        "mindport prompts list": "the prompt tasks that are there",
    },
)

# These run models, and `prompts` itself knows nothing of backends.
prompts.add_command(run)
prompts.add_command(compare)
prompts.add_command(learn)

main.add_command(migrate, "migrate")
main.add_command(validate, "validate")
main.add_command(prompts, "prompts")
main.add_command(completion_command(
    {"mindport": main, "migrate": migrate, "validate": validate, "prompts": prompts}
))  # fmt: skip
