"""What the pages share: colours, and the switches of language and colours; needs no library."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path

from mindport.migrate.language.catalogue import translate
from mindport.validate.report.page.texts import read_catalogues

LANGUAGES = (("en", "English"), ("zh", "中文"))
_FOLDER = Path(__file__).parent


def read_part(*names: str) -> str:
    """Return files of this folder, one after the other."""
    return "".join((_FOLDER / name).read_text(encoding="utf-8") for name in names)


def colours() -> str:
    """Return the colours, the dark ones twice: a reader may choose them by the switch."""
    text = read_part("colours.css")
    dark = text.partition(':root:not([data-theme="light"])')[2].partition("}")[0]
    return f'{text}@media screen {{ :root[data-theme="dark"]{dark}}} }}'


def script_hash(script: str) -> str:
    """Return what a Content-Security-Policy calls a script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def say_plain(key: str) -> str:
    """Return a text of the catalogues in every language, as HTML.

    Args:
        key: Of a text without gaps.
    """
    return _spans({language: texts[key] for language, texts in read_catalogues().items()})


def tell_plain(text: str) -> str:
    """Return an English sentence in every language that has it, as HTML.

    Args:
        text: Plain; it is escaped.
    """
    return _spans({language: translate(text, language) for language in read_catalogues()})


def _spans(said: dict[str, str]) -> str:
    if len(set(said.values())) == 1:
        return f'<span lang="en">{escape(said["en"])}</span>'
    return "".join(
        f'<span class="t" lang="{language}">{escape(words)}</span>'
        for language, words in said.items()
    )
