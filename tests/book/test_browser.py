"""The book as a reader sees it: in headless Chromium, driven by Playwright."""

import io
import os
import re
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import axe_playwright_python
import pytest
import torch
from _tools import ROOT, claims, notebooks, pdf
from PIL import Image, ImageStat
from playwright.sync_api import sync_playwright

from imr import flow, potentials

PAGES = pdf.pages()
LIVE = {
    "flow-field": "book/notebooks/04-the-gradient-flow",
    "step-size": "book/notebooks/05-what-the-flow-does",
    "splitting": "book/notebooks/07-from-flow-to-block",
}
DECKS = notebooks.stems()
AXE = next(Path(axe_playwright_python.__file__).parent.glob("*axe.min.js"))

if not any(map(shutil.which, pdf.NAMES)) and os.environ.get("IMR_REQUIRE_BROWSER") != "1":
    pytest.skip(pdf.NO_CHROMIUM, allow_module_level=True)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**pdf.chromium())
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(html):
    """The book on a local server; pages are also opened as files, which readers do."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=html)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def open_page(browser, html):
    """Open a page from its file, with settings of the browser; what it complained about and asked for is noted."""
    contexts = []

    def open_page(name, script=True, width=1280, theme="light", address=None, query=""):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, java_script_enabled=script
        )
        contexts.append(context)
        page = context.new_page()
        page.complaints, page.asked = [], []
        page.on("console", lambda message: message.type == "error" and page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(f"{address or html.as_uri()}/{name}.html{query}")
        if script:
            page.wait_for_selector("html[data-imr=ready]")  # mathematics is typeset, figures are drawn
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole(open_page, name):
    """No complaint, no request to another host, all mathematics typeset, and no scrolling sideways on a phone."""
    page = open_page(name)
    assert page.complaints == []
    assert all(re.match("file:|data:|blob:", address) for address in page.asked)
    assert page.locator("article .math:not(:has(mjx-container))").count() == 0
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    if name.startswith("book/notebooks/"):
        assert page.locator("article .math").count() > 10
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


EMPTY_THE_ALIKE = """() => {
  const seen = new Set();
  for (const part of document.querySelectorAll("pre, .sig, mjx-container")) {
    const around = part.parentElement;
    const place = around.tagName + around.closest("[class]").className + around.parentElement.className;
    const formula = part.matches("mjx-container");
    const tokens = formula ? [part, ...part.querySelectorAll("[style*=color]")] : [...part.querySelectorAll("span")];
    const kinds = tokens.map((token) => token.tagName + token.className + token.style.color + place);
    if (kinds.length && kinds.every((kind) => seen.has(kind))) part.replaceChildren();
    kinds.forEach((kind) => seen.add(kind));
  }
}"""  # axe takes long over thousands of glyphs and tokens: code and formulas in which no kind is new are emptied


OF_COLOUR = "runOnly: ['color-contrast', 'link-in-text-block']"


def barriers(page, theme):
    """What axe-core finds serious or critical on a page; in dark what is a matter of colours, all else is as in light."""
    page.evaluate(EMPTY_THE_ALIKE)
    found = page.evaluate(f"axe.run({{resultTypes: ['violations'], {OF_COLOUR if theme == 'dark' else ''}}})")["violations"]
    return [
        f"{violation['id']} ({violation['impact']}): {node['target']} {node['html'][:120]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


# One directive makes the pages of witnesses: for axe, which is slow, the first and the last stand for all of them.
OTHERS = [name for name in PAGES if "/witnesses/" in name][1:-1]


@pytest.mark.parametrize("name", [name for name in PAGES if name not in OTHERS])
def test_axe_finds_no_serious_barrier_in_light_or_dark(open_page, site, name):
    page = open_page(name, address=site)
    page.evaluate(AXE.read_text())
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.wait_for_selector(f"html[data-theme={theme}]")
        assert barriers(page, theme) == [], theme


def test_the_reader_switches_between_light_and_dark(open_page):
    page = open_page(PAGES[1])
    ground = "getComputedStyle(document.body).backgroundColor"
    seen = {page.evaluate(ground)}
    for _ in range(2):
        page.locator("button.theme-switch-button:visible").first.click()
        seen.add(page.evaluate(ground))
    assert len(seen) == 2


def test_curves_are_dark_in_dark_mode_and_pictures_stay_what_they_are(open_page):
    def brightness(picture):
        with Image.open(io.BytesIO(picture.screenshot())) as shot:
            return ImageStat.Stat(shot.convert("L")).mean[0] / 255

    for theme, curve_is_light in (("light", True), ("dark", False)):
        page = open_page("book/notebooks/12-the-experiment", theme=theme)
        curve, *_ = page.locator("figure img:not(.picture)").all()
        picture, *_ = page.locator("figure img.picture").all()
        assert (brightness(curve) > 0.5) == curve_is_light
        assert brightness(picture) > 0.5


def test_search_finds_theorem_1(open_page):
    page = open_page("search")
    page.goto(page.url + "?q=Theorem+1")
    page.wait_for_selector("#search-results li")
    titles = page.locator("#search-results li").all_inner_texts()
    assert any("Theorem 1" in title for title in titles)
    assert page.complaints == []


def follow(link):
    """Click a link within the book; what it leads to, and what stands after that."""
    page = link.page
    link.click()
    page.wait_for_selector("html[data-imr=ready]")
    target = page.locator(":target")
    return target, target.locator("xpath=following::*[self::div or self::pre][1]")


def visible(place):
    """Whether something stands in the window, below the bar at its top."""
    box = place.bounding_box()
    return box["y"] >= 48 and box["y"] + box["height"] <= place.page.viewport_size["height"]


def test_a_statement_leads_to_its_proof_its_check_and_its_cell(open_page):
    page = open_page("book/notebooks/03-theorem-1")
    links = page.locator("#thm-1 .imr-witnesses a")
    assert links.all_inner_texts() == ["proof by machine", "check and control", "cell"]
    said = claims.read_results(ROOT)["thm-1"]
    target, source = follow(links.nth(0))
    assert visible(target) and said["proof"]["file"] in target.inner_text()
    assert f"def {said['proof']['function']}" in source.inner_text()
    page.go_back()
    target, _ = follow(links.nth(1))
    heading, result = target.locator("h2"), target.locator("li", has_text="Check:").first
    assert heading.inner_text().startswith("Theorem 3.1 (Theorem 1 of the paper)")
    assert visible(heading) and visible(result)  # one lands on the claim and its result, then comes its source
    assert f"{said['check']['random']} random problems" in result.inner_text()
    assert f"{said['check']['errors'][0][1]:.2g} where" in result.inner_text()
    assert target.locator("pre").last.inner_text().startswith('@claim(\n    "thm-1"')
    page.go_back()
    target, _ = follow(links.nth(2))
    assert "assert same(theorem_1" in target.inner_text()


def test_the_graph_of_statements_is_walked_by_keys_and_scrolls_in_its_own_box(open_page):
    page = open_page("book/ledger", width=375)
    link = page.locator("svg.imr-graph a", has_text="Self-training")
    link.focus()
    assert "leans on Theorem 3.1, Proposition 5" in link.get_attribute("aria-label")
    assert 0 <= link.bounding_box()["x"] <= 375  # the box has scrolled to it
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.keyboard.press("Enter")
    page.wait_for_url("**/07-from-flow-to-block.html#prop-self-training")


@pytest.mark.parametrize(("figure", "name"), LIVE.items())
def test_a_slider_moves_and_changes_what_is_shown(open_page, figure, name):
    page = open_page(name)
    root = page.locator(f'figure[data-figure="{figure}"]')
    for number in range(root.locator("input").count()):
        before = (root.locator("figcaption").inner_text(), root.locator(".panels").inner_html())
        root.locator("input").nth(number).focus()
        page.keyboard.press("ArrowRight")
        after = (root.locator("figcaption").inner_text(), root.locator(".panels").inner_html())
        assert before[0] != after[0] and before[1] != after[1]
    assert page.complaints == []


def test_the_reader_moves_through_the_iterates_of_an_image_with_noise(open_page):
    root = open_page("book/notebooks/12-the-experiment").locator(".imr-iterates")
    shown = lambda: [picture.get_attribute("alt") for picture in root.locator("img:visible").all()]
    everything = shown()
    assert len(everything) == 12 and all("iterate 4" in text for text in everything)
    root.locator("select[name=noise]").select_option("0.3")
    root.locator("select[name=image]").select_option("Pullover")
    root.locator("input").focus()
    root.page.keyboard.press("ArrowLeft")
    assert len(shown()) == 2 and all("σ = 0.3, iterate 3" in text for text in shown())


@pytest.mark.parametrize(("figure", "name"), LIVE.items())
def test_a_live_figure_says_something_without_scripts(open_page, figure, name):
    root = open_page(name, script=False).locator(f'figure[data-figure="{figure}"]')
    assert len(root.inner_text()) > 100


def test_the_start_of_a_token_is_dragged_and_moved_by_keys(open_page):
    page = open_page(LIVE["flow-field"])
    root = page.locator('figure[data-figure="flow-field"]')
    root.scroll_into_view_if_needed()
    handle = root.locator(".handle")
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y - 20)
    page.mouse.up()
    dragged = handle.get_attribute("aria-valuetext")
    assert dragged != "feature 1 is -1.50, feature 2 is -1.00"
    handle.focus()
    page.keyboard.press("ArrowUp")
    assert handle.get_attribute("aria-valuetext") != dragged


def test_the_pages_compute_what_the_package_computes(open_page):
    page = open_page(LIVE["flow-field"])
    theta = torch.tensor(page.evaluate("imr.flow.CORNERS")).double()
    z = torch.tensor([[0.4, -1.1]]).double()
    field = flow.linear_field(theta, torch.tensor([1]))
    there = page.evaluate(f"imr.flow.velocity({z[0].tolist()}, imr.flow.CORNERS, 1)")
    assert torch.allclose(torch.tensor(there).double(), field(z)[0], atol=1e-12)
    assert page.evaluate(f"imr.flow.loss({z[0].tolist()}, imr.flow.CORNERS, 1)") == pytest.approx(
        potentials.linear(z, theta, torch.tensor([1])).item()
    )
    assert page.evaluate("imr.flow.certainStep(imr.flow.CORNERS)") == pytest.approx(2 / flow.lipschitz_bound(theta).item())
    pull, push = flow.shift(theta[1:2]), flow.linear_field(theta, torch.zeros(1, 3).double())

    def repel(h):
        return lambda Z: flow.trajectory(flow.rk4(push, h / 8), Z, 8)[-1]

    for name, step in (("lie", flow.lie(repel, pull, 0.3)), ("strang", flow.strang(pull, repel, 0.3))):
        there = page.evaluate(f"imr.flow.{name}(imr.flow.CORNERS, 1, 0.3)({z[0].tolist()})")
        assert torch.allclose(torch.tensor(there).double(), step(z)[0], atol=1e-12)


def test_without_python_beside_the_pages_a_cell_says_how_to_get_it(open_page):
    page = open_page("book/notebooks/02-the-index-calculus")
    page.locator("button", has_text="Try it").first.click()
    page.locator("button", has_text="Run").first.click()
    assert "make live" in page.locator(".imr-result").inner_text()


needs_live = pytest.mark.skipif(not (ROOT / "_build" / "live").is_dir(), reason="no Python for the browser: make live")


def attempt(cell, change=None):
    """Open a cell, change its code and run it; give back where its result stands."""
    if (first := cell.locator("button", has_text="Try it")).count():
        first.click()
    if change:
        cell.locator("textarea").fill(change(cell.locator("textarea").input_value()))
    cell.locator("button", has_text="Run").click()
    result = cell.locator(".imr-result")
    cell.page.wait_for_function("node => !/^(Loading|Running)/.test(node.textContent)", arg=result.element_handle())
    return result


@needs_live
def test_a_reader_changes_a_cell_and_runs_it_in_the_page(open_page, site):
    page = open_page("book/notebooks/02-the-index-calculus", address=site)
    asked = len(page.asked)
    cells = page.locator("div.cell:has(.imr-cell)")
    attempt(cells.first).locator("mjx-container").wait_for()  # the formula of the cell is typeset
    assert attempt(cells.first, lambda source: "6 * 7").inner_text() == "42"
    needs_torch = attempt(cells.nth(1), lambda source: "import torch")
    assert "needs torch" in needs_torch.inner_text()
    assert needs_torch.locator("a").get_attribute("href").endswith("launch/book/notebooks/02-the-index-calculus.ipynb")
    assert all(address.startswith((site, "data:", "blob:")) for address in page.asked[asked:])


@needs_live
def test_an_answer_is_judged_in_the_page_and_its_mistake_named(open_page, site):
    page = open_page("book/notebooks/02-the-index-calculus", address=site)
    exercise = page.locator("div.cell:has(.imr-cell)").filter(has_text="probability(i, l), x[l] and mean").first
    assert "No answer yet" in attempt(exercise).inner_text()
    wrong = attempt(exercise, lambda source: source.replace("= ...", "= probability(i, l) * x[l]"))
    assert "mean is missing" in wrong.inner_text()
    right = attempt(exercise, lambda source: source.replace("* x[l]", "* (x[l] - mean)"))
    assert "Right" in right.inner_text()


@pytest.mark.parametrize("name", DECKS)
def test_slides_are_whole_and_nothing_is_cut_off(open_page, name):
    page = open_page(f"book/slides/{name}")
    page.wait_for_selector("html[data-slides=ready]")
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    assert "\\(" not in page.locator(".slides").inner_text()
    number = page.evaluate("Reveal.getTotalSlides()")
    assert number >= 7
    for place in range(number):
        page.evaluate(f"Reveal.slide({place})")
        size = page.evaluate("(({scrollHeight, scrollWidth}) => [scrollHeight, scrollWidth])(Reveal.getCurrentSlide())")
        assert size[0] <= 720 and size[1] <= 1280, f"slide {place + 1}"
    assert page.complaints == []
    assert all(re.match("file:|data:|blob:", address) for address in page.asked)


@pytest.mark.parametrize("name", DECKS)
def test_axe_finds_no_serious_barrier_in_slides(open_page, site, name):
    for theme in ("light", "dark"):
        page = open_page(f"book/slides/{name}", theme=theme, address=site, query="?view=scroll")  # all slides on one page
        page.wait_for_selector("html[data-slides=ready]")
        page.evaluate(AXE.read_text())
        assert barriers(page, theme) == [], theme


def test_a_lecturer_moves_on_with_the_keyboard_and_comes_back_to_the_chapter(open_page):
    page = open_page("book/slides/03-theorem-1")
    page.wait_for_selector("html[data-slides=ready]")
    page.keyboard.press("ArrowRight")
    assert page.locator("section.present h2").inner_text() == "You will be able to"
    page.keyboard.press("ArrowLeft")
    page.locator("section.present a", has_text="The chapter").click()
    assert page.locator("article h1").inner_text().startswith("3. Theorem 1")


@pytest.mark.parametrize("name", ["book/notation", "book/ledger", "book/deviations", "book/two-views"])
def test_a_table_of_words_is_read_whole_on_a_phone(open_page, name):
    cells = open_page(name, width=360).locator("article table td")
    assert cells.count() > 10
    assert max(cells.evaluate_all("all => all.map((cell) => cell.getBoundingClientRect().right)")) <= 360
    assert "meaning" in cells.evaluate_all("all => all.map((cell) => cell.dataset.label)") or name != "book/notation"
