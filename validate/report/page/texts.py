"""The words of the page: one catalogue per language, in ``text/``, with the same keys."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mindport.migrate.language.catalogue import translate
from mindport.validate.diagnose.causes import CAUSES

if TYPE_CHECKING:
    from markupsafe import Markup

_FOLDER = Path(__file__).parent / "text"


@lru_cache
def read_catalogues() -> dict[str, dict[str, str]]:
    """Return the texts by language (a BCP 47 tag, the file's name) and key."""
    texts = {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted(_FOLDER.glob("*.yaml"))
    }
    for language, catalogue in texts.items():
        catalogue.update(
            {f"cause_{name}": translate(words, language) for name, words in CAUSES.items()}
        )
    return texts


def say(key: str, **values: Any) -> Markup:
    """Return a text in every language, of which the page shows the reader's.

    Args:
        key: Of the catalogues.
        values: What stands in the text's braces; escaped.
    """
    from markupsafe import Markup  # it comes with jinja2, which the extra `report` installs

    return Markup("").join(
        Markup('<span class="t" lang="{}">{}</span>').format(
            language,
            Markup(texts[key]).format(**values),  # noqa: S704  our own text, values are escaped
        )
        for language, texts in read_catalogues().items()
    )


def tell(text: str) -> Markup:
    """Return a sentence of the verdict, which is English, in every language that has it.

    Args:
        text: Plain; it is escaped.
    """
    from markupsafe import Markup

    said = {language: translate(text, language) for language in read_catalogues()}
    if len(set(said.values())) == 1:
        return Markup('<span lang="en">{}</span>').format(text)
    return Markup("").join(
        Markup('<span class="t" lang="{}">{}</span>').format(language, words)
        for language, words in said.items()
    )
