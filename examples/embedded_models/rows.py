"""Write the shipped rows: `rows.py --data DIR --tasks DIR`.

For each task the held-out rows that it is scored on, and the demonstrations for few-shot prompts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import chinese
import data
import shots
from data import SEED, Row, shuffled
from pair import pairs
from sources import CHINESE, ENGLISH, fetch


def shipped_rows(folder: Path) -> dict[str, Sequence[Row]]:
    """Return the rows of every file by its name."""
    english, reviews = data.build(folder), chinese.build(folder)
    sentiment = shuffled(english.sentiment.shipped, SEED)
    sentiment_shots = shots.sentiment_shots(english)
    return {
        "sentiment": sentiment,
        "sentiment-shots": sentiment_shots,
        "topic": shuffled(english.topic.shipped, SEED),
        "topic-shots": shots.topic_shots(english),
        "pair": shuffled(pairs(sentiment), SEED + 7),
        "pair-shots": shuffled(pairs(sentiment_shots), SEED + 7),
        "sentiment-zh": shuffled(reviews.sentiment.shipped, SEED),
        "sentiment-zh-shots": shots.chinese_shots(reviews),
    }


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write one JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(asdict(row), ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Download, split, and write the shipped rows."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the archives")
    parser.add_argument("--tasks", type=Path, required=True, help="folder for the .jsonl files")
    arguments = parser.parse_args()
    fetch(arguments.data, (*ENGLISH, *CHINESE))
    for name, rows in shipped_rows(arguments.data).items():
        write_rows(rows, arguments.tasks / f"{name}.jsonl")
        print(name, len(rows))


if __name__ == "__main__":
    main()
