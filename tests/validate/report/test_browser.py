"""The page in a real browser: nothing on the console, charts, switches, search, narrow and dark."""

from __future__ import annotations

import os
import shutil

import pytest

from mindport.validate.report.forms import load_form

NAMES = ("pass", "fail", "not-run", "everything")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def browser(extra):
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; install it, or name it in CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(verdicts, extra, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name in NAMES:
        (folder / f"{name}.html").write_text(load_form("html").render(verdicts[name], "").text)
    return folder


@pytest.fixture
def visit(browser, files):
    """Open a page; whatever the browser complains of, or asks of a network, fails the test."""
    contexts, complaints = [], []

    def open_page(name, width=1120, **settings):
        context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("file:", "data:"))
                or complaints.append(request.url))  # fmt: skip
        page.goto((files / f"{name}.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def shown(page, selector):
    return page.locator(selector).filter(visible=True)


def choose(page, name, value):
    page.locator(f'input[name="{name}"][value="{value}"]').check()


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_and_draws(visit, name):
    page = visit(name)
    charts = shown(page, ".picture svg")
    assert charts.count() == {"pass": 4, "fail": 5, "not-run": 0, "everything": 7}[name]
    for i in range(charts.count()):
        box = charts.nth(i).bounding_box()
        assert box["width"] > 300
        assert box["height"] > 100
    assert page.evaluate("window.hit") is None
    assert not page.locator("svg script, svg img, table script, table img").count()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [340, 768])
def test_a_narrow_page_does_not_scroll_sideways(visit, name, width):
    page = visit(name, width)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_rows_of_a_scrolled_heat_map_keep_their_names(visit):
    page = visit("fail", 340)
    page.locator(".heat").scroll_into_view_if_needed()
    hidden = page.evaluate("""() => {
        const names = [...document.querySelectorAll(".heat tbody th")];
        names[0].closest("div").scrollLeft = 200;
        return names.filter((name) => {
            name.scrollIntoView({ block: "center", inline: "nearest" });
            const box = name.getBoundingClientRect();
            const front = document.elementFromPoint(box.right - 14, (box.top + box.bottom) / 2);
            return !name.contains(front);
        }).length;
    }""")
    assert hidden == 0


def test_views_and_statistics_are_chosen(visit):
    page = visit("fail")
    chart = shown(page, "[data-view]")
    assert (chart.count(), chart.get_attribute("data-view")) == (1, "isolated")
    choose(page, "view", "accumulated")
    choose(page, "statistic", "peak")
    assert chart.count() == 1
    assert (chart.get_attribute("data-view"), chart.get_attribute("data-statistic")) == (
        "accumulated", "peak",
    )  # fmt: skip


def test_search_finds_parameters_and_taps(visit):
    page = visit("everything")
    rows = shown(page, "#parameters tbody tr")
    every = rows.count()
    search = page.locator('input[data-filters="parameters"]')
    search.fill("h.1 C_ATTN")
    assert rows.count() == 2
    assert page.locator('[data-count="parameters"]').inner_text() == f"2 / {every}"
    search.fill("nothing of the kind")
    assert rows.count() == 0
    search.fill("")
    assert rows.count() == every
    page.locator('input[data-only="taps"]').check()
    names = shown(page, "#taps tbody th").all_inner_texts()
    assert names[0] == "block.1.mlp"
    assert "block.0" not in names


def test_both_languages(visit):
    page = visit("fail", locale="en-GB")
    heading = page.locator("h1")
    assert heading.inner_text() == "Fail The candidate does not agree with the reference."
    assert page.locator("html").get_attribute("lang") == "en"
    choose(page, "language", "zh")
    assert heading.inner_text() == "未通过 候选实现与参考实现不一致。"
    assert page.locator("html").get_attribute("lang") == "zh"
    assert not shown(page, '.t[lang="en"]').count()
    page.locator('input[data-filters="taps"]').fill("出错")
    assert shown(page, "#taps tbody tr").count() >= 1
    assert visit("fail", locale="zh-CN").locator("h1").inner_text().startswith("未通过")


def test_without_a_script_it_can_still_be_read(visit):
    page = visit("fail", java_script_enabled=False)
    assert "The candidate does not agree" in page.locator("h1").inner_text()
    assert shown(page, ".picture svg").count() == 5
    assert not shown(page, "#switches, .needs-script").count()


def test_light_and_dark(visit):
    def colours(page):
        return page.evaluate("""() => [getComputedStyle(document.body).backgroundColor,
            getComputedStyle(document.querySelector('.picture svg path[stroke]')).stroke]""")

    light, dark = (colours(visit("pass", color_scheme=s)) for s in ("light", "dark"))
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    page = visit("pass", color_scheme="light")
    choose(page, "theme", "dark")
    assert colours(page) == dark
    choose(page, "theme", "light")
    assert colours(page) == light
    other = visit("pass", color_scheme="dark")
    choose(other, "theme", "light")
    assert colours(other) == light


def test_a_mark_tells_its_figures(visit, verdicts):
    page = visit("fail")
    place = [tap.name for tap in verdicts["fail"].taps].index("block.1.mlp")
    mark = shown(page, f'.picture path[data-row="row-taps-{place}"]').first
    mark.hover()
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert "block.1.mlp" in tip.inner_text()
    assert "faulty" in tip.inner_text()
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    mark.click()
    assert "lit" in page.locator(f"#row-taps-{place}").get_attribute("class")


def test_the_fault_is_in_sight_at_first(visit):
    page = visit("fail", 400)
    boxes = shown(page, ".picture")
    assert boxes.first.evaluate("(box) => box.scrollLeft") > 0
    inside = """(box) => {
        const row = document.querySelector('tr.wrong').getBoundingClientRect();
        const outer = box.getBoundingClientRect();
        return outer.top < row.top && row.top < outer.bottom;
    }"""
    assert page.locator(".scroll:has(#taps)").evaluate(inside)


def test_the_keyboard_reaches_everything(visit):
    page = visit("everything")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("""() => { const e = document.activeElement;
            return e.dataset.filters || e.name || e.className || e.tagName; }""")
        )
    assert {
        "language",
        "theme",
        "view",
        "statistic",
        "taps",
        "parameters",
        "picture",
        "A",
    } <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing(visit, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(visit(name, color_scheme=scheme)).response
    assert len(found["passes"]) > 10
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]] == []
