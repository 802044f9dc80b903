"""The book as one printed page."""

import os
import shutil

import pytest
from _tools import pdf
from bs4 import BeautifulSoup
from playwright.sync_api import sync_playwright


@pytest.fixture(scope="module")
def whole(html):
    """All pages of the book as one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pdf, "HTML", html)
        return pdf.one_page()


def test_links_in_the_printed_book_lead_somewhere(html, whole):
    page = BeautifulSoup(whole, "html.parser")
    assert len(page.find_all("article")) == len(pdf.pages())
    places = {tag["id"] for tag in page.find_all(id=True)}
    for link in page.select("article a[href^='#']"):
        assert link["href"][1:] in places, link
    for picture in page.select("article img[src]"):
        assert picture["src"].startswith("data:") or (html / picture["src"]).is_file()


@pytest.mark.skipif(
    not any(map(shutil.which, pdf.NAMES)) and os.environ.get("IMR_REQUIRE_BROWSER") != "1", reason=pdf.NO_CHROMIUM
)
def test_a_figure_that_moves_has_its_lines_on_paper(html, whole):
    page = BeautifulSoup(whole, "html.parser")
    for article in page.find_all("article"):
        if not article.select("figure[data-figure='flow-field']"):
            article.decompose()  # which saves half a minute of typesetting
    alone = html / "alone.html"
    alone.write_text(str(page), encoding="utf-8")
    try:
        with sync_playwright() as playwright, playwright.chromium.launch(**pdf.chromium()) as browser:
            lines = pdf.open_page(browser, alone).locator("svg :is(.path, .frame, .axis, .arrow)")
            strokes = lines.evaluate_all("all => all.map((line) => getComputedStyle(line).stroke)")
    finally:
        alone.unlink()
    assert len(strokes) > 100 and "none" not in strokes
