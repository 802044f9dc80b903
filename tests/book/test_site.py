"""The whole book, built as it is published."""

import json
import re

from _tools import ROOT, notebooks
from bs4 import BeautifulSoup

STEMS = notebooks.stems()


def test_pages_load_nothing_from_another_host(html):
    elsewhere = re.compile(r"^(https?:)?//")
    pages = list(html.rglob("*.html"))
    assert len(pages) > len(STEMS)
    for page in pages:
        soup = BeautifulSoup(page.read_text(), "html.parser")
        loaded = [tag.get("src") for tag in soup.find_all(src=True)]
        loaded += [tag["href"] for tag in soup.find_all("link", href=True) if "canonical" not in tag.get("rel", [])]
        assert loaded or page.parent == html, page.name  # the root only redirects
        assert [address for address in loaded if elsewhere.match(address)] == [], page.name


def test_all_mathematics_was_parsed(html):
    for page in html.glob("book/**/*.html"):
        text = BeautifulSoup(page.read_text(), "html.parser").find("main")
        for part in text.select("pre, code, .math, script"):
            part.decompose()
        assert "$" not in text.get_text(), page.name


def test_scripts_in_the_pages_name_no_other_host(html):
    for page in html.rglob("*.html"):
        soup = BeautifulSoup(page.read_text(), "html.parser")
        code = "".join(script.get_text() for script in soup.find_all("script"))
        assert not re.search(r"(https?:)?//[\w-]+\.\w", code), page.name


def test_style_sheets_load_nothing_from_another_host(html):
    for sheet in html.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text(errors="ignore")), sheet.name


def test_mathjax_is_served_from_the_book(html):
    page = (html / "book" / "notebooks" / f"{STEMS[1]}.html").read_text()
    source = re.search(r'src="([^"]*mathjax[^"]*)"', page).group(1)
    assert (html / "book" / "notebooks" / source.partition("?")[0]).resolve().is_file()


def test_pages_and_site_are_light(html):
    for page in html.rglob("*.html"):
        assert page.stat().st_size < 1_000_000, page.name
    files = [file for file in html.rglob("*") if file.is_file() and "live" not in file.relative_to(html).parts]
    assert sum(file.stat().st_size for file in files if file.name != "imr.pdf") < 20_000_000
    on_demand = [file for file in (html / "live").glob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in on_demand) < 30_000_000


def test_every_picture_is_described_for_those_who_do_not_see_it(html):
    for page in html.glob("book/**/*.html"):
        for picture in BeautifulSoup(page.read_text(), "html.parser").select("article img, .slides img"):
            assert len(picture["alt"].split()) >= 4, f"{page.name}: {picture['alt']}"


def test_the_status_page_knows_every_chapter(html):
    page = BeautifulSoup((html / "book" / "status.html").read_text(), "html.parser").find("article")
    assert [f"{row['href']}" for row in page.select("tbody td:first-child a")] == [
        f"notebooks/{stem}.html" for stem in STEMS
    ]
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.M))
    for stem in STEMS:
        noted = notebooks.refreshed(notebooks.NOTEBOOKS / f"{stem}.ipynb")
        for name, number in map(str.split, noted["versions"]):
            assert name == "python" or number.partition("+")[0] == pinned[name], f"{stem}: make refresh CHAPTERS={stem}"
        chapter = BeautifulSoup((html / "book" / "notebooks" / f"{stem}.html").read_text(), "html.parser")
        assert noted["date"] in chapter.select_one(".imr-refreshed").text
    md5 = "8d4fb7e6c68d591d4c3dfef9ec88bf0d"  # of the training images, as torchvision knows it
    assert md5 in page.text


def test_the_way_on_says_what_the_next_chapter_teaches(html):
    for stem in STEMS[:-1]:
        page = BeautifulSoup((html / "book" / "notebooks" / f"{stem}.html").read_text(), "html.parser")
        after = page.select_one("a.right-next")
        there = BeautifulSoup(((html / "book" / "notebooks") / after["href"]).read_text(), "html.parser")
        objective = there.select_one("article .admonition li").get_text().strip().rstrip(";.")
        assert after.select_one(".imr-objective").get_text() == objective


def test_slides_are_found_from_their_chapters_and_not_by_the_search(html):
    for stem in STEMS:
        chapter = BeautifulSoup((html / "book" / "notebooks" / f"{stem}.html").read_text(), "html.parser")
        assert (html / "book" / "notebooks" / chapter.select_one(".imr-refreshed a")["href"]).is_file()
    index = json.loads((html / "searchindex.js").read_text().removeprefix("Search.setIndex(").removesuffix(")"))
    decks = {number for number, name in enumerate(index["docnames"]) if name.startswith("book/slides/")}
    assert len(decks) == len(STEMS)
    for words in (index["terms"], index["titleterms"]):
        for found in words.values():
            assert not decks & set(found if isinstance(found, list) else [found])
