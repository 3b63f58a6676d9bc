"""Run the commands that the README shows: what they print as SVG, their HTML pages as PNG.

``make pictures`` runs this. Nothing is edited by hand: the pictures are the program's output. The
pages are photographed by Chromium, which must be installed.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from rich.console import Console
from safetensors.numpy import load_file, save_file

from mindport.migrate.porting import port, prepare
from mindport.validate import Request, Verdict, embedded_checkpoint, validate
from mindport.validate.report.forms import load_form
from mindport.validate.report.forms.terminal import print_verdict

HERE = Path(__file__).parent.absolute()


def draw(name: str, command: str, verdict: Verdict) -> None:
    """Write ``name.svg`` with a command line and the verdict that it prints."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        _record(
            name,
            command,
            verdict,
            Console(file=nowhere, record=True, width=104, force_terminal=True, highlight=False),
        )


def _record(name: str, command: str, verdict: Verdict, console: Console) -> None:
    console.print(f"[bold]$ {command}[/]")
    print_verdict(console, verdict)
    svg = console.export_svg(title="mindport", unique_id=name)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # no font from the network
    (HERE / f"{name}.svg").write_text(svg, encoding="utf-8")


def photograph(name: str, verdict: Verdict, *, part: str, height: int, **settings: str) -> None:
    """Write ``name.png``: a part of the HTML page, from its top down.

    Args:
        name: Of the picture.
        verdict: What the page shows.
        part: A selector of where the picture begins.
        height: In pixels.
        settings: Of the browser, ``locale`` and ``color_scheme``.
    """
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        file = Path(scratch) / "index.html"
        file.write_text(load_form("html").render(verdict, "").text, encoding="utf-8")
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1100, "height": height}, **settings)
        page.goto(file.as_uri())
        top = page.locator(part).bounding_box()["y"] - 16
        clip = {"x": 0, "y": max(top, 0), "width": 1100, "height": height}
        page.screenshot(path=HERE / f"{name}.png", clip=clip, full_page=True)
        browser.close()


def main() -> None:
    """Draw a passing and a failing run."""
    command = "validate gpt2 --mode graph --prompts sentiment"
    verdict = validate(Request("gpt2", mode="graph", prompts="sentiment"))
    draw("pass", command, verdict)
    photograph("report-prompts", verdict, part="#prompts", height=950, locale="zh-CN",
               color_scheme="dark")  # fmt: skip

    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        ported = port(prepare(embedded_checkpoint("gpt2"), "gpt2"), Path("./gpt2-ms"))
        weights = ported / "model.safetensors"
        tensors = load_file(weights)
        # The mistake of a port by hand: this Conv1D is square, so nothing complains.
        name = "transformer.h.2.attn.c_proj.weight"
        tensors[name] = tensors[name].T.copy()
        weights.unlink()
        save_file(tensors, weights)
        verdict = validate(Request("gpt2", candidate_checkpoint=ported))
    command = "validate gpt2 --candidate-checkpoint ./gpt2-ms"
    draw("fail", command, verdict)
    photograph("report-fail", verdict, part=".top", height=1400, locale="en-GB",
               color_scheme="light")  # fmt: skip


if __name__ == "__main__":
    main()
