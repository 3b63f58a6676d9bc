"""What has no Chinese on purpose: modules and sentences that nobody is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Modules, or folders of them, whose text goes into a file, to a program or to one who calls it.
SILENT = (
    "migrate/lazy.py",
    "migrate/guess/words.py",  # words of names, to compare
    "validate/acceptance/overview.py",  # Markdown
    "validate/acceptance/page.py",  # markup
    "validate/acceptance/publishing.py",  # JUnit
    "validate/backends/_torch_disturbed.py",
    "validate/backends/_torch_floor.py",  # names of runs
    "validate/backends/_torch_gradients.py",  # names of runs
    "validate/departures/known.py",  # formulas, in JSON
    "validate/faults",  # what a page says of each
    "validate/learning/worker.py",  # names of runs
    "validate/parity.py",  # the message of an assertion
    "validate/pytest_plugin.py",
    "validate/recording/job_main.py",  # runs where there is no catalogue
    "validate/report/charts",  # markup
    "validate/report/forms/html.py",
    "validate/report/forms/json.py",
    "validate/report/forms/junit.py",
    "validate/report/forms/markdown.py",
    "validate/report/page",  # has catalogues of its own
    "validate/selftest/markdown.py",
)

# Strings of the other modules: code to run, what stands in files, what is searched, operations.
UNSAID = {
    "torch.save(torch.jit.load(PATH).state_dict(), OTHER)",
    "No module named 'mindport",
    "No module named mindport",
    "--case case --device {device}",
    "{ways_on} 'validate doctor --device {device}' says more.",
    "{message} {hint} Then: validate report {folder} --format html",
    "what the command prints, as plain text",
    "| level | | finding |",
    "| flipped item | true | reference | candidate | margin | bound | |",
    "\n… and {len} more.",
    "the data set",
    "the rendered text",
    "ModelOutput has no field {name}; it has {names}",
    "another order, cut or way round",
    "# From {source} to {target}: {summary}.",
    "  # without a source: {name}",
    "  # {why} (names alike: {likeness})",
    "  - source: {name}",
    "# To leave these out, take away the signs before them and give the reason.",
    "# drop:",
    ", heads: {heads}",
    "concatenate {parts} along axis {axis}{how}",
    "split into {parts} along axis {axis}{how}",
    "repeat {parts} times",
    ", {heads} heads in turn",
    "insert axis {axis}",
    "remove axis {axis}",
    "pad tokens {before} to {after} (each the mean of the others)",
    "cut tokens {before} to {after}",
    "The task {x} of lm-evaluation-harness.",
    "OpenPrompt and the course's mindprompt: a template file and a verbalizer file",
    "text files: [X] It was [Z], one a line; and label: word, word",
    "{% set answer_choices = {list} %}{prompt}",
    "an unnamed data set",
    "The PromptSource template {name} of {dataset}.",
    "a task file of mindport",
    "paired bootstrap",
    "Clopper-Pearson limit of the changed items",
    "unknown ({first})",
    "steps of the architecture file",
    "{device} (emulated)",
    "python and numpy seed",
    "np.ndarray | None",
    "str | None",
    "tuple[str, str]",
    "cannot open shared object",
    "python{python} -m venv {folder}",
    "{interpreter} -m pip uninstall -y {quoted}",
    "{interpreter} -m pip install --force-reinstall --no-deps {quoted}",
    " was asked for, but MindSpore computed on ",
    "MindSpore 2.11, mindspore.device_context.ascend.op_precision.precision_mode",
    '"$0" -m compileall -q -j 0 "$1" || true',
    "import ensurepip, sys, venv; v = sys.version_info; "
    "print(f'{v[0]}.{v[1]} {v[0]}.{v[1]}.{v[2]}')",
    "{module} ({value}): the weights are not at hand",
    "# tap: cell, or {cell: PATH, end: output or input, index: 0, part: [0, 3]}; null leaves a tap "
    "out.",
    ", part {part} of {part}",
    "# {name}: not found; it is carried by the formula",
    "Taps of {title} in {notes}, as proposed; correct what is wrong.",
    "Taps of {title} in a dump of {tool}",
    "{path} has no tensor {name}",
    "<Recorded {side}: {what}; {len} taps in {path}>",
    "validate selftest",
    "Whether the weights are carried along.  [default: {default}]",
    "{architecture} {name}{strong}, block {block}",
    "<Verdict {verdict}: {headline}>",
    "first faulty tap",
    "os error {ENOSPC}",
}


def speaking_modules() -> Iterator[str]:
    """Yield every module that says something to a person."""
    for package in ("migrate", "prompts", "validate"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not any(name == silent or name.startswith(f"{silent}/") for silent in SILENT):
                yield name
