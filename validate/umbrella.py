"""``mindport``: the commands under one name that no other distribution uses."""

from __future__ import annotations

import click

from mindport.migrate.cli import main as migrate
from mindport.prompts.cli import main as prompts
from mindport.validate.cli import main as validate
from mindport.validate.learning.cli import learn
from mindport.validate.prompting.cli import compare, run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mindport")
def main() -> None:
    """Port language models from PyTorch to MindSpore, and prove that the port is right."""


# These run models, and `prompts` itself knows nothing of backends.
prompts.add_command(run)
prompts.add_command(compare)
prompts.add_command(learn)

main.add_command(migrate, "migrate")
main.add_command(validate, "validate")
main.add_command(prompts, "prompts")
