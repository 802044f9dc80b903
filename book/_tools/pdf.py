"""Print the built book to one PDF, ``_build/imr.pdf``, with Chromium."""

import os
import posixpath
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, Page, sync_playwright

from _tools import ROOT

HTML, OUT = ROOT / "_build" / "html", ROOT / "_build" / "imr.pdf"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
NAMES += ("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",)
NO_CHROMIUM = "no Chromium on this machine: install your system's package 'chromium'"
FOOT = '<div style="font-size: 8px; text-align: center; width: 100%"><span class="pageNumber"></span></div>'


def chromium() -> dict[str, Any]:
    """How Playwright starts the system's Chromium.

    Raises:
        FileNotFoundError: there is none.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        raise FileNotFoundError(NO_CHROMIUM)
    quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    quiet += ["--disable-component-update", "--disable-sync"]
    sandbox = [] if os.geteuid() else ["--no-sandbox"]  # Chromium has none for root
    return {"executable_path": found, "args": quiet + sandbox}


def write(out: Path) -> None:
    """Print the built book.

    Raises:
        FileNotFoundError: there is no Chromium, or no built book.
    """
    browser, whole = chromium(), HTML / "whole.html"
    whole.write_text(one_page(), encoding="utf-8")
    try:
        print_page(whole, out, browser)
    finally:
        whole.unlink()


def pages() -> list[str]:
    """All pages of the book, in the order of its table of contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    files = [[chapter["file"], *(section["file"] for section in chapter.get("sections", []))] for chapter in chapters]
    return [toc["root"], *chain.from_iterable(files)]


def one_page() -> str:
    """All pages of the book one after another, in the shell of the first; links between them lead to places within."""
    names = pages()
    soups = [BeautifulSoup((HTML / f"{name}.html").read_text(encoding="utf-8"), "html.parser") for name in names]
    articles = []
    for name, soup in zip(names, soups, strict=True):
        for attribute in ("src", "href"):
            for tag in soup.find_all(**{attribute: True}):
                tag[attribute] = _within(tag[attribute], name, names)
        article = soup.find("article")
        article["id"] = _anchor(name)
        articles.append(article.extract())
    shell = soups[0]
    shell.body.clear()
    shell.body.extend(articles)
    return str(shell)


def _within(address: str, name: str, names: list[str]) -> str:
    """An address on a page, as it is from the top folder; one of another page becomes a place on this one."""
    path, mark, place = address.partition("#")
    if not path or ":" in path:
        return address
    target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
    page = target.removesuffix(".html")
    if page not in names:
        return target + mark + place
    return f"#{place}" if place else f"#{_anchor(page)}"


def _anchor(name: str) -> str:
    return f"page-{name.replace('/', '-')}"


def open_page(browser: Browser, page_file: Path) -> Page:
    """Open a page as it is to be printed: typeset, and in the light theme, which else a script sets that is not there."""
    page = browser.new_page(color_scheme="light")
    page.goto(page_file.as_uri())
    page.wait_for_selector("html[data-imr=ready]", timeout=300_000)
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    page.emulate_media(media="print")
    return page


def print_page(page_file: Path, out: Path, settings: dict[str, Any]) -> None:
    """Print with solutions unfolded, code as folded as on the pages, page numbers, and an outline."""
    margin = {"top": "16mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**settings)
        open_page(browser, page_file).pdf(
            path=out,
            format="A4",
            scale=0.75,
            margin=margin,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOT,
            outline=True,
            tagged=True,
            print_background=True,
        )
        browser.close()
