"""The program that reads a MindRecord file: the one part of ``prompts`` that needs a framework.

It is run, never imported: ``python -m mindport.prompts.data.mindrecord_worker SOURCE DESTINATION``.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main(source: str, destination: str) -> int:
    """Write a MindRecord's rows as JSON lines.

    Args:
        source: The MindRecord.
        destination: Where the lines go.

    Returns:
        0; 1 if the file cannot be read; 3 if MindSpore cannot be imported. The reason is printed.
    """
    try:
        from mindspore.mindrecord import FileReader
    except Exception as error:  # a broken installation raises more than ImportError
        print(_last(error))
        return 3
    try:
        reader = FileReader(source, num_consumer=1)
        with open(destination, "w", encoding="utf-8") as file:
            for row in reader.get_next():
                plain = {key: _plain(value) for key, value in row.items()}
                fields = {key: value for key, value in plain.items() if value is not None}
                file.write(json.dumps(fields) + "\n")
        reader.close()
    except Exception as error:  # MindSpore raises errors of many kinds; one line is passed on
        print(_last(error))
        return 1
    return 0


def _plain(value: Any) -> Any:
    """Return a text or a number as Python's own, anything else as None."""
    if getattr(value, "shape", None) == ():
        value = value.item()
    return value if isinstance(value, str | int | float) else None


def _last(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" -")]
    return (lines or [type(error).__name__])[0]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
