"""The outcome as one page that links every cell's; plain HTML, which needs no library."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from html import escape
from typing import Any

from mindport.validate.acceptance.folder import CELLS, PAGE, TIMING, VERDICT
from mindport.validate.acceptance.overview import WORDS
from mindport.validate.report.page.frame import (
    LANGUAGES,
    colours,
    read_part,
    say_plain,
    script_hash,
    tell_plain,
)
from mindport.validate.report.summary import share

_FILES = ((PAGE, "page"), ("verdict.md", "Markdown"), ("junit.xml", "JUnit"), (VERDICT, "JSON"),
          (TIMING, "timing"))  # fmt: skip
_PROVES_NOT = "A statement, bound to these files by their hashes; no proof of who made it."
_TONES = {"pass": "good", "fail": "bad", "not-run": "doubt"}
_STYLE = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; }
main, .top { max-width: 1080px; margin: 0 auto; padding: 1rem; }
a { color: var(--link); }
h1 { font-size: 1.45rem; line-height: 1.3; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 0 0 .4rem; overflow-wrap: anywhere; }
code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .85em;
  overflow-wrap: anywhere; }
.soft { color: var(--ink-soft); }
.good { --tone: var(--good); } .bad { --tone: var(--bad); } .doubt { --tone: var(--doubt); }
.box { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  border-left: 6px solid var(--tone, var(--line)); padding: .9rem 1.1rem; margin: 0 0 1rem; }
.badge { background: var(--tone); color: var(--page); border-radius: 6px; padding: .05rem .6rem;
  margin-right: .4rem; white-space: nowrap; }
.state { color: var(--tone); font-weight: 600; white-space: nowrap; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .7rem .3rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.grid td, .grid th { white-space: nowrap; }
.box th { overflow-wrap: normal; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { color: var(--ink-soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 560px) { dl { grid-template-columns: 1fr; } }
"""


def render_page(content: Mapping[str, Any], files: Collection[str]) -> str:
    """Return the page.

    Args:
        content: What ``summary.json`` holds.
        files: Paths of files that are there, to be linked.
    """
    script = read_part("switch.js")
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        f"script-src 'sha256-{script_hash(script)}'"
    )
    title = f"{content['outcome']} · {content['name']} · mindport"
    return "\n".join([
        '<!DOCTYPE html>\n<html lang="en" data-lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}; img-src data:">',
        '<meta name="color-scheme" content="light dark">',
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">',
        f"<style>{colours()}{_STYLE}{read_part('switch.css')}</style>\n</head>\n<body>",
        *_switches(),
        "<main>",
        *_head(content),
        *_grid(content),
        f"<h2>{tell_plain('Cell by cell')}</h2>",
        *(line for cell in content["cells"] for line in _cell(cell, files)),
        *_made(content),
        f"</main>\n<script>{script}</script>\n</body>\n</html>\n",
    ])  # fmt: skip


def _switches() -> Iterator[str]:
    themes = [(theme, f"<span>{say_plain(f'theme_{theme}')}</span>")
              for theme in ("auto", "light", "dark")]  # fmt: skip
    languages = [(tag, f'<span lang="{tag}">{name}</span>') for tag, name in LANGUAGES]
    yield '<header class="top"><p class="brand">mindport</p>'
    yield '<div class="switches" hidden id="switches">'
    for name, legend, choices in (
        ("language", "language", languages), ("theme", "colours", themes)
    ):  # fmt: skip
        yield f'<fieldset><legend class="quiet">{say_plain(legend)}</legend>'
        for value, words in choices:
            yield f'<label><input type="radio" name="{name}" value="{value}">{words}</label>'
        yield "</fieldset>"
    yield "</div></header>"


def _head(content: Mapping[str, Any]) -> Iterator[str]:
    tone = _TONES[content["status"]]
    outcome = say_plain(f"status_{content['outcome'].replace(' ', '-')}")
    badge = f'<span class="badge">{outcome}</span>'
    yield f'<section class="box {tone}"><h1>{badge} {escape(content["name"])}</h1>'
    yield f"<p>{tell_plain(content['headline'])}</p>"
    if content["signed_off"]:
        signed = content["signed_off"]
        yield f"<p>{tell_plain(signed['statement'])}<br>Signed-off-by: {escape(signed['by'])}</p>"
        yield f'<p class="soft">{tell_plain(_PROVES_NOT)}</p>'
    yield "</section>"


def _grid(content: Mapping[str, Any]) -> Iterator[str]:
    yield '<div class="scroll" tabindex="0" role="region" aria-label="All cells">'
    yield '<table class="grid"><thead><tr>'
    heads = ("cell", "", "verdict", "tolerance used", "time", "candidate")
    yield "".join(
        f'<th scope="col">{tell_plain(head)}</th>' if head else "<td></td>" for head in heads
    )
    yield "</tr></thead><tbody>"
    for cell in content["cells"]:
        ratio, used = cell["ratio"], cell["most_used"]
        name = escape(cell["name"])
        yield f'<tr><th scope="row"><a href="#{name}">{name}</a></th>'
        yield f"<td>{_state(cell)}</td><td>{escape(cell['verdict']['status'])}</td>"
        yield f"<td>{escape(share(used['share']) if used else '–')}</td>"
        yield f"<td>{f'{ratio:.2f} x' if ratio is not None else '–'}</td>"
        ran = cell["ran"].get("candidate")
        yield f"<td>{escape(ran) if ran else tell_plain('nothing ran')}</td></tr>"
    for out in content["left_out"]:
        yield f'<tr><th scope="row">{escape(out["name"])}</th><td>{tell_plain("left out")}</td>'
        yield f'<td colspan="4">{escape(out["reason"])}</td></tr>'
    yield "</tbody></table></div>"


def _state(cell: Mapping[str, Any]) -> str:
    said = WORDS[cell["status"]]
    if cell["may_be_absent"] and cell["status"] == "not-run":
        said += " (may be absent)"
    return f'<span class="state {_TONES[cell["status"]]}">{tell_plain(said)}</span>'


def _cell(cell: Mapping[str, Any], files: Collection[str]) -> Iterator[str]:
    name = cell["name"]
    yield f'<section class="box {_TONES[cell["status"]]}" id="{escape(name)}">'
    yield f"<h3>{escape(name)}: {_state(cell)}</h3><table><tbody>"
    for check in cell["checks"]:
        said = tell_plain(WORDS[check["status"]])
        state = f'<span class="state {_TONES[check["status"]]}">{said}</span>'
        yield f'<tr><th scope="row">{tell_plain(check["what"])}</th><td>{state}</td>'
        yield f"<td>{tell_plain(check['said'])}</td></tr>"
    yield "</tbody></table>"
    for side, said in cell["ran"].items():
        yield f'<p class="soft">{tell_plain(side)}: {escape(said)}</p>'
    if cell["capture"]:
        yield f'<p class="soft">{tell_plain("recorded elsewhere")}: {escape(cell["capture"])}</p>'
    links = [
        f'<a href="{CELLS}/{escape(name)}/{file}">{tell_plain(word)}</a>'
        for file, word in _FILES
        if f"{CELLS}/{name}/{file}" in files
    ]
    yield f"<p>{' · '.join(links)}</p></section>"


def _made(content: Mapping[str, Any]) -> Iterator[str]:
    made = content["made"]
    weights = {
        digest: f"{side} {name}"
        for cell in content["cells"]
        for side, found in cell["checkpoints"].items()
        for name, digest in found.items()
    }
    versions = ", ".join(f"{name} {value}" for name, value in made["versions"].items())
    yield f"<h2>{tell_plain('What this rests on')}</h2><dl>"
    for what, said in (
        (
            tell_plain("task"),
            f'<a href="task.toml">task.toml</a> <code>{content["task"]["sha256"]}</code>',
        ),
        *((escape(name), f"<code>{digest}</code>") for digest, name in weights.items()),
        ("mindport", f"{escape(made['mindport'])}, code <code>{made['code']}</code>"),
        (tell_plain("versions"), escape(f"{versions}; {made['platform']}")),
        (tell_plain("written"), escape(made["at"])),
        (tell_plain("hashes of all files"), '<a href="integrity.json">integrity.json</a>'),
    ):
        yield f"<dt>{what}</dt><dd>{said}</dd>"
    yield "</dl>"
