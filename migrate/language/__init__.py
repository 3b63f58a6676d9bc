"""Messages in the reader's language.

The program says everything in English: in its files, in JSON, between its processes. What it shows
to a person goes through :func:`tell`, which looks the finished sentence up in a catalogue.
"""

from __future__ import annotations

from mindport.migrate.language.catalogue import translate
from mindport.migrate.language.choice import chosen_language


def tell(text: str) -> str:
    """Return a message in the reader's language; as it stands if no catalogue has it.

    Args:
        text: In English, finished: with its names and figures.
    """
    return translate(text, chosen_language())
