"""Messages in the reader's language: which one, how they are found, and that none is lost."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
import yaml
from click.testing import CliRunner
from rich.cells import cell_len

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.migrate.language import tell
from mindport.migrate.language.catalogue import catalogue_files, gaps, translate
from mindport.migrate.language.choice import chosen_language
from mindport.validate.doctor.compatibility import load_table
from mindport.validate.judge import not_run
from mindport.validate.launch import NotRun
from mindport.validate.report.ending import print_ending
from mindport.validate.umbrella import main
from tests.messages import is_covered, pieces, sentences
from tests.silent import SILENT, UNSAID, speaking_modules
from tests.test_commands import COMMANDS

ROOT = Path(__file__).parents[1]
CHINESE = re.compile("[\u4e00-\u9fff]")

# What these modules say is in the catalogues, all of it.
COVERED = list(speaking_modules())


def entries():
    for file in catalogue_files("zh"):
        for key, text in yaml.safe_load(file.read_text(encoding="utf-8")).items():
            yield pytest.param(key, text, id=f"{file.parts[-4]}/{file.stem}: {key[:50]}")


ENTRIES = list(entries())


@pytest.mark.parametrize("module", COVERED)
def test_all_that_a_covered_module_says_is_translated(module):
    lost = [
        said for said in sentences(ROOT / module) if said not in UNSAID and not is_covered(said)
    ]
    assert not lost, f"put them into {module.partition('/')[0]}/words/zh/: {lost}"


def test_what_is_set_aside_is_still_there():
    said = {text for module in COVERED for text in sentences(ROOT / module)}
    assert sorted(UNSAID - said) == []
    assert [module for module in SILENT if not (ROOT / module).exists()] == []


def test_what_the_doctor_knows_of_versions_is_translated():
    said = set()
    for topic in load_table().topics:
        said.add(topic.title)
        for row in topic.rows:
            says = row.says and f"{row.says[:1].upper()}{row.says[1:]}."  # as a finding has it
            said |= {row.needs, says}
    words = [text for text in said if re.search("[a-z]{3}", text)]
    assert len(words) > 30
    assert not [text for text in words if translate(text, "zh") == text]


def test_a_sentence_that_is_not_translated_is_noticed(tmp_path):
    module = tmp_path / "module.py"
    module.write_text('def f(x):\n    """Doc of it."""\n    return f"the {x} sang a song: {x.y}"\n')
    assert list(sentences(module)) == ["the {x} sang a song: {y}"]
    assert not is_covered("the {x} sang a song: {y}")
    assert is_covered("the {side} could not run: {reason}")


@pytest.mark.parametrize(("key", "text"), ENTRIES)
def test_an_entry_names_the_gaps_of_its_sentence(key, text):
    grammar = {"word", "are"}  # parameter or parameters
    assert set(gaps(key)) - grammar <= set(gaps(text)) <= set(gaps(key))
    assert key == key.strip()
    assert key == "rows" or re.search("[\u4e00-\u9fff：，；]", text)


def test_no_sentence_stands_twice():
    keys = [line for file in catalogue_files("zh")
            for line in file.read_text(encoding="utf-8").splitlines() if line.startswith('"')]  # fmt: skip
    found = {key: keys.count(key) for key in keys}
    assert not [key for key, count in found.items() if count > 1]


def test_a_sentence_with_gaps_has_words_to_know_it_by():
    few = {"{origin}; weights: {weights}", "{stage}: {done} of {total} MB ({share})"}
    for parameters in ENTRIES:
        key = parameters.values[0]
        if gaps(key):
            fixed = "".join(pieces(re.sub(r":\w\}", "}", key)))
            kinds = re.findall(r"\{\w+:\w\}", key)
            assert len(fixed) >= 4 or kinds or key in few, key


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LANG": "zh-Hans-CN"}, "zh"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zha_XX"}, "en"),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "C.UTF-8", "LANGUAGE": "zh_CN"}, "en"),
        ({"LC_ALL": "", "LC_MESSAGES": "zh_CN.UTF-8", "LANG": "en_US.UTF-8"}, "zh"),
        ({"LC_MESSAGES": "en_US.UTF-8", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "zh_CN:en"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "en:zh"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "de"}, "zh"),
        ({"MINDPORT_LANG": "zh"}, "zh"),
        ({"MINDPORT_LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "zh"),
        ({"MINDPORT_LANG": "en", "LC_ALL": "zh_CN.UTF-8"}, "en"),
        ({"MINDPORT_LANG": "", "LANG": "zh_CN.UTF-8"}, "zh"),
    ],
)
def test_the_language_follows_the_environment(environ, language):
    assert chosen_language(environ, ()) == language


def test_a_stream_that_cannot_write_chinese_gets_english():
    def stream(encoding):
        return io.TextIOWrapper(io.BytesIO(), encoding=encoding)

    environ = {"LANG": "zh_CN"}
    assert chosen_language(environ, [stream("utf-8"), stream("gbk")]) == "zh"
    assert chosen_language(environ, [stream("utf-8"), stream("ascii")]) == "en"
    assert chosen_language(environ, [stream("latin-1")]) == "en"


def test_a_message_is_told_in_chinese_with_its_names_as_they_are(monkeypatch):
    monkeypatch.setenv("MINDPORT_LANG", "zh")
    assert tell("/tmp/reference exists already.") == "/tmp/reference 已经存在。"
    assert tell("the reference could not run: candidate") == "参考实现无法运行：候选实现"
    assert tell("nobody translated this") == "nobody translated this"
    error = MindportError(
        f"There is no layout 'mindspor'.{did_you_mean('mindspor', ['mindspore'])}"
    )
    assert tell(error.message) == "没有布局 'mindspor'。是否想写 'mindspore'？可用：mindspore。"
    monkeypatch.setenv("MINDPORT_LANG", "en")
    assert tell("/tmp/reference exists already.") == "/tmp/reference exists already."


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("all 50 taps agree, at logits to 1e-06; no tap uses more than 45% of its tolerance; 8 of "
         "9 prompts get the same label",
         "全部 50 个观测点一致，在 logits 处相差 1e-06；各观测点最多用去其容差的 45%；9 条提示词中有 8 条得到相同的标签"),
        ("x.y is the first of 2 faulty taps: shapes differ: [1, 2] and [2, 1]; confirmed cause: "
         "the matrix is stored in the other order (in, out) or (out, in) (in a.b: the result is "
         "the input)",
         "2 个出错的观测点中，第一个是 x.y：形状不同：[1, 2] 与 [2, 1]；已确认的原因：矩阵按另一种次序存放（输入、输出颠倒）"
         "（在 a.b 中：结果就是输入）"),
        ("It does not.\n  - missing: a [2]\n  … and 4 more", "It does not.\n  - 缺失：a [2]\n  … 另有 4 个"),
        ("Leave one out. Strange words. Leave it out.", "请去掉其中一个。Strange words.请去掉它。"),
        ("  wrote x  ", "  已写入 x  "),
        # The first sentence's gap does not take the second; a sentence inside has no full stop.
        ("There is no matrix unit 'x'. Did you mean 'y'? Known: y.", "没有矩阵单元 'x'。是否想写 'y'？可用：y。"),
        ("t.yaml, line 3, labels: A task needs label words.", "t.yaml 第 3 行，labels：任务需要标签词。"),
        ("accepted: 1 of 2 cells show what is asked, 1 not run, 1 of these may be absent",
         "验收通过：2 个单元中有 1 个符合要求，1 个未运行，其中 1 个可以缺少"),
        ("/t.toml cannot be used:\n  - line 3: [model] size is 'x'. Known: base.",
         "/t.toml 不能使用：\n  - 第 3 行：[model] size 为 'x'。可用：base。"),
        ("tap a.b: 10% → 30% of its tolerance, 3 times as much, became faulty",
         "观测点 a.b：容差占用 10% → 30%，为先前的 3 倍，变为出错"),
        ("mis-shaped: entry 4, a and b: 2 arrays of one shape are needed, not [[1], [2]]",
         "形状不符：第 4 条，a and b：需要 2 个形状相同的数组，而不是 [[1], [2]]"),
    ],
)  # fmt: skip
def test_a_text_of_several_sentences_is_taken_apart(english, chinese):
    assert translate(english, "zh") == chinese
    assert translate(english, "en") == english
    assert translate(english, "fr") == english


def test_a_verdict_stays_english_and_is_shown_in_chinese(monkeypatch):
    from rich.console import Console

    monkeypatch.setenv("MINDPORT_LANG", "zh")
    reason = NotRun("candidate", "MindSpore sees none", "Leave it out.", ("last words",))
    verdict = not_run(SimpleNamespace(architecture="gpt2", head="lm", taps=()), [reason], ())
    stored = json.dumps(verdict.to_dict(), ensure_ascii=False)
    assert not CHINESE.search(stored)
    text = io.StringIO()
    print_ending(Console(file=text, width=100), "", verdict.headline, (), verdict.not_run)
    assert text.getvalue().split("\n") == [
        "", "候选实现无法运行：MindSpore 没有看到这种设备", "建议：请去掉它。", "  | last words", ""]  # fmt: skip


def test_an_error_is_told_in_chinese_and_its_exit_code_stays(monkeypatch, tmp_path):
    monkeypatch.setenv("MINDPORT_LANG", "zh")
    path = str(tmp_path / "none")
    result = CliRunner().invoke(main, ["migrate", "gpt2", path, str(tmp_path / "x")])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"错误： {path} 处没有权重文件。")
    assert "建议：" in result.stderr
    events = CliRunner().invoke(main, ["migrate", "gpt2", path, str(tmp_path / "x"), "--json"])
    assert json.loads(events.stdout)["message"] == f"There is no checkpoint at {path}."


def shown_help(path):
    """Yield what a command's help says: paragraphs, options, and what its examples are for."""
    command = COMMANDS[path]
    yield from (command.help or "").split("\n\n")
    yield command.short_help or ""
    for option in command.params:
        if isinstance(option, click.Option):
            yield from re.fullmatch(r"(.*?)(?:  \[(.*)\])?", option.help, flags=re.DOTALL).groups(
                ""
            )
    yield from command.examples.values()


@pytest.mark.parametrize("path", COMMANDS)
def test_the_help_of_every_command_is_translated(path):
    texts = [" ".join(text.split()) for text in shown_help(path) if not text.startswith("\b")]
    assert not [text for text in texts if text and translate(text, "zh") == text]


@pytest.mark.parametrize("path", ["mindport", "mindport validate gpt2", "mindport prompts convert"])
def test_help_in_chinese_has_the_same_options_and_fits(monkeypatch, path):
    words = [*path.split()[1:], "--help"]
    english = CliRunner().invoke(main, words, terminal_width=80).output
    monkeypatch.setenv("MINDPORT_LANG", "zh")
    chinese = CliRunner().invoke(main, words, terminal_width=80).output
    assert chinese.startswith("用法：")
    for heading in ("选项:", "示例:"):
        assert f"\n{heading}\n" in chinese
    flags = re.compile(r"^  (?:-\w, )?--[\w-]+", flags=re.MULTILINE)
    assert flags.findall(chinese) == flags.findall(english)
    told = chinese.partition("\n示例:\n")[0]
    long = [line for line in told.splitlines() if cell_len(line) > 84]
    assert not [line for line in long if CHINESE.search(line)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["validate", "gpt2", "--nonsense"], "没有选项"),
        (["validate", "gpt2", "--batch", "x"], "'--batch' 的值无效：'x' 不是整数。"),
        (["validate", "nonsense"], "没有命令 'nonsense'。"),
        (["prompts", "show", "topic"], "缺少选项 '--checkpoint'。"),
        (["prompts", "show"], "缺少参数"),
    ],
)
def test_what_click_refuses_is_told_in_chinese(monkeypatch, words, said):
    english = CliRunner().invoke(main, words)
    monkeypatch.setenv("MINDPORT_LANG", "zh")
    chinese = CliRunner().invoke(main, words)
    assert chinese.exit_code == english.exit_code == 2
    assert "用法：" in chinese.stderr
    assert "错误：" in chinese.stderr
    assert said in chinese.stderr
    assert "Error" in english.stderr
