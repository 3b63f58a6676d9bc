"""Read the tokenizer files that lie beside a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from mindport.migrate.errors import CheckpointError

Family = Literal["byte-bpe", "wordpiece"]
Parts = tuple[Tokenizer, Family, dict[str, int]]

_ROLES = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")
_USUAL: dict[Family, dict[str, str]] = {
    "byte-bpe": {"eos": "<|endoftext|>"},
    "wordpiece": {role: f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")},
}
# Those of a byte-level vocabulary that has a mask: RoBERTa's, whose settings need not name them.
_MASKED = {
    "pad": "<pad>",
    "unk": "<unk>",
    "cls": "<s>",
    "sep": "</s>",
    "mask": "<mask>",
    "bos": "<s>",
    "eos": "</s>",
}


def read_tokenizer(folder: Path) -> Parts:
    """Return the tokenizer of a folder, its family, and the ids of its special tokens by role.

    Raises:
        CheckpointError: If there is none, it is damaged, or it is of another family.
    """
    settings = {
        **_read_json(folder / "special_tokens_map.json", default={}),
        **_read_json(folder / "tokenizer_config.json", default={}),
    }
    family: Family
    if (folder / "tokenizer.json").is_file():
        tokenizer, family = _read_tokenizer_json(folder / "tokenizer.json")
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        tokenizer, family = _read_byte_bpe(folder), "byte-bpe"
    elif (folder / "vocab.txt").is_file():
        tokenizer, family = _read_wordpiece(folder, settings), "wordpiece"
    else:
        raise CheckpointError(
            f"There is no tokenizer in {folder}.",
            "Looked for tokenizer.json, vocab.json with merges.txt, and vocab.txt; copy them from "
            "the folder that the weights came from.",
        )
    if family == "byte-bpe":
        _check_bytes(tokenizer, folder)
    return tokenizer, family, _special_ids(tokenizer, family, settings)


def _read_json(path: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    if default is not None and not path.is_file():
        return default
    try:
        content = json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}.") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not {type(content).__name__}.")
    return content


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8 text: {error}.") from None


def _read_tokenizer_json(path: Path) -> tuple[Tokenizer, Family]:
    content = _read_json(path)
    byte_level = _byte_level_steps(content.get("pre_tokenizer"))
    for step in byte_level:
        step["add_prefix_space"] = False
    try:
        tokenizer = Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # the library raises nothing narrower
        raise CheckpointError(f"{path} is not a tokenizer: {error}.") from None
    model = type(tokenizer.model).__name__
    if model == "WordPiece":
        return tokenizer, "wordpiece"
    if model == "BPE" and byte_level:
        return tokenizer, "byte-bpe"
    raise CheckpointError(
        f"{path} is a {model} tokenizer{' without bytes' if model == 'BPE' else ''}; byte-level "
        "BPE (GPT-2, RoBERTa) and WordPiece (BERT, DistilBERT) are understood."
    )


def _byte_level_steps(pre_tokenizer: Any) -> list[dict[str, Any]]:
    if not isinstance(pre_tokenizer, dict):
        return []
    steps = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    return [s for s in steps if isinstance(s, dict) and s.get("type") == "ByteLevel"]


def _read_byte_bpe(folder: Path) -> Tokenizer:
    path = folder / "merges.txt"
    merges = []
    for number, line in enumerate(_read_text(path).split("\n"), 1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        pair = tuple(line.split())
        if len(pair) != 2:
            raise CheckpointError(f"{path}, line {number}: a merge is two tokens, not {line!r}.")
        merges.append(pair)
    vocab = _read_json(folder / "vocab.json")
    try:
        tokenizer = Tokenizer(models.BPE(vocab, merges))
    except Exception as error:  # the library raises nothing narrower
        reason = f"vocab.json and merges.txt in {folder} do not fit together: {error}."
        raise CheckpointError(reason) from None
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def _read_wordpiece(folder: Path, settings: dict[str, Any]) -> Tokenizer:
    path = folder / "vocab.txt"
    # Not splitlines(): some vocabularies hold U+2028 and its like as tokens.
    lines = _read_text(path).removesuffix("\n").split("\n")
    vocab = {token: index for index, token in enumerate(lines)}
    unknown = _content(settings.get("unk_token")) or "[UNK]"
    if unknown not in vocab:
        raise CheckpointError(
            f"{path} has no token {unknown!r}.", "Is it the vocabulary of a BERT?"
        )
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token=unknown, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=settings.get("do_lower_case", True) is not False,
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True) is not False,
        strip_accents=settings.get("strip_accents"),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _check_bytes(tokenizer: Tokenizer, folder: Path) -> None:
    vocab = tokenizer.get_vocab()
    absent = sum(symbol not in vocab for symbol in pre_tokenizers.ByteLevel.alphabet())
    if absent:
        raise CheckpointError(
            f"The byte-level vocabulary in {folder} lacks {absent} of the 256 bytes.",
            "Text that holds them would vanish without a word; the vocabulary is damaged or cut.",
        )


def _special_ids(tokenizer: Tokenizer, family: Family, settings: dict[str, Any]) -> dict[str, int]:
    ids: dict[str, int] = {}
    usual = _USUAL[family]
    if family == "byte-bpe" and None not in map(tokenizer.token_to_id, _MASKED.values()):
        usual = _MASKED
    for role in _ROLES:
        name = _content(settings.get(f"{role}_token")) or usual.get(role)
        index = tokenizer.token_to_id(name) if name else None
        if index is not None:
            ids[role] = index
    return ids


def _content(token: Any) -> str | None:
    """Return a special token's text, written as itself or as an object with its ``content``."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None
