"""The runner of pages notices what a page says wrongly."""

from __future__ import annotations

import pytest

from tests.docs.blocks import agrees, blocks_of, commands_of
from tests.docs.rules import ListError, Page, Rule, read_list
from tests.docs.runner import PageError, Runner


def run(markdown, folder, **rules):
    runner = Runner("page.md", Page(**rules), folder)
    runner.run(markdown)
    return [name for name, *_ in runner.done]


def test_blocks_and_commands_are_read():
    page = """\
Text.

```sh
one --x "a b"   # a comment
two \\
  --more
# nothing
three#4
```

- a list:

  ```yaml title="a.yaml"
  a: 1
  ```

```console
$ show
first
second
$ again
```
"""
    shell, listed, session = blocks_of(page)
    assert [c.text for c in commands_of(shell)] == ['one --x "a b"', "two --more", "three#4"]
    assert [c.line for c in commands_of(shell)] == [4, 5, 8]
    assert (listed.title, listed.text) == ("a.yaml", "a: 1\n")
    assert [(c.text, c.shown) for c in commands_of(session)] == [
        ("show", "first\nsecond"),
        ("again", ""),
    ]


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\nb", "a\nb\n", True),
        ("a\nb", "a  \nb\n\n", True),
        ("a\nb", "a\n\nb\n", False),
        ("a", "a\nb", False),
        ("b", "a\nb", False),
        ("…\nb", "a\nb", True),
        ("…\nb", "b", True),
        ("…\nb\n…", "a\nb\nc\nd", True),
        ("…\nc\n…", "a\nb", False),
        ("took … s", "took 1.5 s", True),
        ("took … s", "took 1\n5 s", False),
        ("a (b)", "a (b)", True),
        ("a .", "a b", False),
    ],
)
def test_output_is_compared(shown, printed, same):
    assert agrees(shown, printed) is same


def test_a_page_is_run_in_order(tmp_path):
    page = """\
```python title="make.py"
open("made", "w").write("x")
```

```sh
python make.py
mkdir inner
cd inner
```

```console
$ cat ../made
x
```

```python
assert open("../made").read() == "x"
```
"""
    assert run(page, tmp_path) == [
        "python make.py", "mkdir inner", "cat ../made", "python at page.md:16"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("```sh\nexit 3\n```", "page.md:2: exit 3\nexit code 3, not 0"),
        ("```sh\nno-such-command\n```", "exit code 127"),
        ("```sh\ncat missing\n```", "No such file"),
        ("```console\n$ echo a\nb\n```", "prints otherwise than the page shows\na"),
        ("```python\nraise SystemExit('no')\n```", "SystemExit: no"),
        ("```yaml\na: [1\n```", "this is no yaml"),
        ("```json\n{a}\n```", "this is no json"),
        ("```toml\na\n```", "this is no toml"),
        ('```python title="x.py"\ndef\n```', "this is no python"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(block, said, tmp_path):
    with pytest.raises(PageError, match=r"^page.md:\d") as caught:
        run(block, tmp_path)
    assert said in str(caught.value)


def test_what_hangs_is_ended(tmp_path):
    runner = Runner("page.md", Page(), tmp_path, limit=0.5)
    with pytest.raises(PageError, match="still runs after"):
        runner.run("```sh\nsleep 60 & wait\n```")
    with pytest.raises(PageError, match="after its time"):
        runner.run("```python\nimport time\ntime.sleep(60)\n```")


def test_rules_are_kept(tmp_path):
    page = "```sh\nexit 3\nfalse\nexit 4\nrm -r /\n```"
    commands = {
        "exit 3": Rule(exit=3),
        "false": Rule(instead="true", why="shorter"),
        "exit 4": Rule(elsewhere="other.md"),
        "rm -r /": Rule(skip="danger"),
    }
    assert run(page, tmp_path, commands=commands) == ["exit 3", "true"]
    with pytest.raises(PageError, match="exit code 0, not 3"):
        run("```sh\ntrue\n```", tmp_path, commands={"true": Rule(exit=3)})


def test_python_is_checked(tmp_path):
    page = "```python\nx = 1\n```\n\n```python\nx = 2\n```"
    run(page, tmp_path, python=("assert x == 1", "assert x == 2"))
    with pytest.raises(PageError, match="AssertionError"):
        run(page, tmp_path, python=("assert x == 2",))


def test_blocks_of_a_page_share_their_names(tmp_path):
    page = "```python\nx = 1\n```\n\n```sh\nmkdir a\ncd a\n```\n\n```python\nopen(str(x), 'w')\n```"
    run(page, tmp_path)
    assert (tmp_path / "a" / "1").exists()
    with pytest.raises(PageError, match="the interpreter ended"):
        run("```python\nimport os\nos._exit(0)\n```", tmp_path)


@pytest.mark.parametrize(
    "rule",
    [
        "{skip: because}",
        "{instead: b}",
        "{why: b}",
        "{skip: slow, elsewhere: a.md}",
        "{exits: 3}",
    ],
)
def test_a_list_that_makes_no_sense_is_refused(rule, tmp_path):
    file = tmp_path / "runs.yaml"
    file.write_text(f"reasons: {{slow: it is}}\npages:\n  a.md:\n    commands: {{a: {rule}}}\n")
    with pytest.raises(ListError, match=r"a\.md"):
        read_list(file)
