import copy
import importlib.util
import re
import subprocess
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml
from _tools import claims, live, notebooks, pages, pdf, publish
from _tools.__main__ import app
from bs4 import BeautifulSoup
from typer.testing import CliRunner

from imr import data

ROOT = Path(__file__).resolve().parents[1]

CHAPTERS = [c for part in yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"] for c in part["chapters"]]
STEMS = notebooks.stems()


def test_text_and_notebooks_agree():
    assert STEMS
    assert notebooks.problems() == []


@pytest.fixture
def pair(tmp_path):
    """A good pair in a folder of its own, to be damaged."""
    stem = STEMS[0]
    (tmp_path / "text").mkdir()
    (tmp_path / "twins").mkdir()
    (tmp_path / "text" / f"{stem}.md").write_text((notebooks.CHAPTERS / f"{stem}.md").read_text())
    notebook = nbformat.read(notebooks.NOTEBOOKS / f"{stem}.ipynb", as_version=4)

    def problems(change=lambda nb: None, stem=stem):
        damaged = copy.deepcopy(notebook)
        change(damaged)
        nbformat.write(damaged, tmp_path / "twins" / f"{stem}.ipynb")
        return "\n".join(notebooks.problems(tmp_path / "text", tmp_path / "twins"))

    return problems


def _code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_a_good_pair_has_no_problem(pair):
    assert pair() == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda nb: _code(nb)[1].update(source="1 + 1"), "text and twin differ in cell"),
        (lambda nb: nb.cells[0].update(source="# Another title"), "text and twin differ in cell 1"),
        (lambda nb: nb.cells.pop(), "the text has"),
        (lambda nb: _code(nb)[2].update(execution_count=None), "not executed from top to bottom"),
        (lambda nb: _code(nb)[0].update(execution_count=7), "not executed from top to bottom"),
        (lambda nb: [cell.update(outputs=[]) for cell in _code(nb)], "0 cells have an output that nbval compares"),
        (lambda nb: nb.metadata.update(imr={"data": "other"}), "differ in their metadata"),
    ],
)
def test_a_damaged_pair_is_found(pair, change, says):
    assert says in pair(change)


def test_a_twin_without_text_is_found(pair):
    assert "a twin without text" in pair(stem="99-no-text")
    assert "no executed twin" in pair(stem="99-no-text")


@pytest.mark.parametrize("stem", STEMS)
def test_text_survives_a_round_trip(stem):
    notebook = jupytext.read(notebooks.CHAPTERS / f"{stem}.md", fmt="md:myst")
    again = jupytext.reads(jupytext.writes(notebook, fmt="md:myst"), fmt="md:myst")
    assert [cell.source for cell in again.cells] == [cell.source for cell in notebook.cells]


def test_no_output_is_exempt_from_comparison():
    for stem in STEMS:
        for cell in _code(nbformat.read(notebooks.NOTEBOOKS / f"{stem}.ipynb", as_version=4)):
            assert not re.search("nbval|raises-exception", str(cell.metadata)), f"{stem}: {cell.source[:60]}"


def test_every_chapter_is_in_the_table_of_contents():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [Path(chapter["file"]) for part in toc["parts"] for chapter in part["chapters"]]
    assert sorted(file.name for file in files if file.parent.name == "notebooks") == STEMS


def test_code_fits_the_page():
    for stem in STEMS:
        for cell in _code(jupytext.read(notebooks.CHAPTERS / f"{stem}.md", fmt="md:myst")):
            assert max(map(len, cell.source.splitlines())) <= 84, f"{stem}: {cell.source}"


@pytest.mark.parametrize("stem", STEMS)
def test_every_exercise_waits_for_an_answer_and_judges_its_solution(stem):
    """An exercise is followed by a cell that waits for an answer, its solution by one that the same judge finds right."""
    cells = nbformat.read(notebooks.NOTEBOOKS / f"{stem}.ipynb", as_version=4).cells
    exercises = [label for cell in cells for label in re.findall(r"{exercise}\n:label: (\S+)", cell.source)]
    assert len(exercises) >= 3
    for label in exercises:
        for directive, says in (("{exercise}\n:label: " + label, "No answer yet"), ("{solution} " + label, "Right")):
            (place,) = (i for i, cell in enumerate(cells) if directive in cell.source)
            printed = "".join(output.get("text", "") for output in cells[place + 1].outputs)
            assert says in printed, f"{label}: the cell after {directive!r}"


def test_every_picture_of_a_chapter_has_its_data_compared():
    for stem in STEMS:
        for cell in _code(nbformat.read(notebooks.NOTEBOOKS / f"{stem}.ipynb", as_version=4)):
            kinds = [set(output.get("data", {})) for output in cell.outputs]
            if any("image/png" in kind for kind in kinds):
                assert any(output.output_type == "stream" for output in cell.outputs), f"{stem}: {cell.source[:60]}"


def test_equations_that_docstrings_name_are_in_the_book():
    chapters = "".join(p.read_text() for p in notebooks.CHAPTERS.glob("*.md"))
    labels = set(re.findall(r"^\$\$ \((eq-[\w-]+)\)", chapters, re.M)) | set(
        re.findall(r"^:label: ([\w-]+)", chapters, re.M)
    )
    package = "".join(p.read_text() for p in (ROOT / "imr").rglob("*.py"))
    named = set(re.findall(r":(?:eq|prf:ref):`([\w-]+)`", package))
    assert len(named) > 10
    assert named <= labels
    assert not re.search(r"\b(Eq|Prop|Chapter|Thm)\.? \d", package)  # numbers move, labels do not


def test_every_word_of_the_notation_table_is_in_the_package():
    import importlib

    named = re.findall(r"`imr\.(\w+)\.(\w+)\(", (ROOT / "book" / "notation.md").read_text())
    assert len(named) > 5
    for module, name in named:
        assert callable(getattr(importlib.import_module(f"imr.{module}"), name))


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
        article = BeautifulSoup(page.read_text(), "html.parser").find("article")
        for part in article.select("pre, code, .math, script"):
            part.decompose()
        assert "$" not in article.get_text(), page.name


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
        for picture in BeautifulSoup(page.read_text(), "html.parser").select("article img"):
            assert len(picture["alt"].split()) >= 4, f"{page.name}: {picture['alt']}"


def test_the_status_page_knows_every_chapter(html):
    page = BeautifulSoup((html / "book" / "status.html").read_text(), "html.parser").find("article")
    assert [f"{row['href']}" for row in page.select("tbody td:first-child a")] == [
        f"notebooks/{stem}.html" for stem in STEMS
    ]
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.M))
    for stem, row in pages.status().items():
        for name, number in row["versions"].items():
            assert name == "python" or number.partition("+")[0] == pinned[name], f"{stem}: make refresh CHAPTERS={stem}"
        chapter = BeautifulSoup((html / "book" / "notebooks" / f"{stem}.html").read_text(), "html.parser")
        assert row["refreshed"] in chapter.select_one(".imr-refreshed").text
    md5 = "8d4fb7e6c68d591d4c3dfef9ec88bf0d"  # of the training images, as torchvision knows it
    assert md5 in page.text


def test_each_chapter_opens_on_colab_and_binder(html, tmp_path):
    publish.write("owner/name", tmp_path)
    for stem in STEMS:
        page = BeautifulSoup((html / "book" / "notebooks" / f"{stem}.html").read_text(), "html.parser")
        colab, binder = (page.select_one(f"a[href*='{host}']")["href"] for host in ("colab", "mybinder"))
        file = f"book/notebooks/{stem}.ipynb"
        assert colab.endswith(f"/github/owner/name/blob/launch/{file}")
        assert "/gh/owner/name/launch?" in binder and binder.endswith(file)
        first, *rest = nbformat.read(tmp_path / file, as_version=4).cells
        assert rest == nbformat.read(notebooks.NOTEBOOKS / f"{stem}.ipynb", as_version=4).cells
        assert ("data.download()" in first.source) == any("data.load(" in cell.source for cell in rest)
    for path in (notebooks.BOOK / "results").rglob("*.json"):
        assert (tmp_path / path.relative_to(ROOT)).read_bytes() == path.read_bytes()
    assert (tmp_path / "requirements.txt").read_text() == "imr @ git+https://github.com/owner/name\n"


def test_the_set_up_cell_installs_on_a_bare_machine_only(tmp_path, monkeypatch):
    publish.write("owner/name", tmp_path)
    source = nbformat.read(tmp_path / "book" / "notebooks" / f"{STEMS[-1]}.ipynb", as_version=4).cells[0].source
    ran = []
    (tmp_path / "content" / "imr-book" / "book" / "notebooks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "content")
    monkeypatch.setattr(subprocess, "run", lambda command, check: ran.append(" ".join(command)))
    monkeypatch.setattr(data, "is_present", lambda: False)
    monkeypatch.setattr(data, "download", lambda: ran.append("download"))
    exec(source, {})
    assert ran == ["download"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(source, {})
    clone, install, fetched = ran[1:]
    assert clone == "git clone --quiet --depth 1 --branch launch https://github.com/owner/name imr-book"
    assert install.endswith("-m pip install --quiet -r imr-book/requirements.txt") and fetched == "download"
    assert Path.cwd() == tmp_path / "content" / "imr-book" / "book" / "notebooks"


@pytest.mark.parametrize(("address", "says"), [("", "is not set, expected OWNER/NAME"), ("imr", "is 'imr', expected")])
def test_launch_needs_an_address(monkeypatch, address, says):
    monkeypatch.setenv("IMR_REPOSITORY", address)
    done = CliRunner().invoke(app, ["publish"])
    assert done.exit_code == 2 and says in done.stderr


def test_a_book_without_an_address_says_so(html, monkeypatch):
    text = (ROOT / "book" / "index.md").read_text()
    for address, says in (("", "has no buttons"), ("owner/name", "The rocket")):
        monkeypatch.setenv("IMR_REPOSITORY", address)
        pages.fill_in(None, "book/index", filled := [text])
        assert says in filled[0] and "<!--" not in filled[0]


def test_the_way_on_says_what_the_next_chapter_teaches(html):
    for stem in STEMS[:-1]:
        page = BeautifulSoup((html / "book" / "notebooks" / f"{stem}.html").read_text(), "html.parser")
        after = page.select_one("a.right-next")
        there = BeautifulSoup(((html / "book" / "notebooks") / after["href"]).read_text(), "html.parser")
        objective = there.select_one("article .admonition li").get_text().strip().rstrip(";.")
        assert after.select_one(".imr-objective").get_text() == objective


def test_every_claim_is_linked_from_its_statement(html):
    pages = {p: BeautifulSoup(p.read_text(), "html.parser") for p in (html / "book").rglob("*.html")}
    ids = {path: {tag["id"] for tag in page.find_all(id=True)} for path, page in pages.items()}
    for claim in claims.claims():
        ((path, statement),) = (
            (p, page.select_one(f"#{claim['label']}")) for p, page in pages.items() if claim["label"] in ids[p]
        )
        links = [link["href"].partition("#") for link in statement.select(".imr-witnesses a")]
        reached = {anchor for file, _, anchor in links if anchor in ids[(path.parent / (file or path.name)).resolve()]}
        kinds = ("check", "cell") if "by_hand" in claim else ("check", "cell", "symbolic")
        assert {f"{kind}-{claim['id']}" for kind in kinds} <= reached


def test_what_a_reader_can_do_is_tested_in_a_browser():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "README.md").read_text()))
    assert len(named) >= 8
    assert named <= set(re.findall(r"^def (test_\w+)", (ROOT / "tests" / "test_browser.py").read_text(), re.M))


def test_links_in_the_printed_book_lead_somewhere(html, monkeypatch):
    monkeypatch.setattr(pdf, "HTML", html)
    page = BeautifulSoup(pdf.one_page(), "html.parser")
    assert (
        len(page.find_all("article")) == len(STEMS) + sum(not c["file"].startswith("book/notebooks") for c in CHAPTERS) + 1
    )
    places = {tag["id"] for tag in page.find_all(id=True)}
    for link in page.select("article a[href^='#']"):
        assert link["href"][1:] in places, link
    for picture in page.select("article img[src]"):
        assert picture["src"].startswith("data:") or (html / picture["src"]).is_file()


def test_python_for_the_browser_is_the_one_that_was_checked(tmp_path, monkeypatch):
    pinned = (ROOT / "requirements.txt").read_text()
    asked = set(re.findall(r'"([\w.-]+-none-any)\.zip"', (ROOT / "book" / "_static" / "live.js").read_text()))
    wheels = {name.removesuffix(".whl") for name in live.SHA256 if name != live.PYODIDE}
    assert asked == wheels
    assert all("{}=={}".format(*wheel.split("-")) in pinned for wheel in wheels)
    monkeypatch.setattr(live, "LIVE", tmp_path / "live")
    monkeypatch.setattr(live, "fetch", lambda folder: [(folder / name).write_bytes(b"other") for name in live.SHA256])
    done = CliRunner().invoke(app, ["live"])
    assert done.exit_code == 2 and "it is not used" in done.stderr
    assert not (tmp_path / "live").exists()

    def no_npm(folder):
        raise FileNotFoundError("npm")

    monkeypatch.setattr(live, "fetch", no_npm)
    done = CliRunner().invoke(app, ["live"])
    assert done.exit_code == 2 and "needs npm" in done.stderr


def test_every_file_speaks_of_no_machine():
    """No folder of somebody's machine in any text that git tracks, whatever its name; pictures and the like are not text."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    read = 0
    for path in (ROOT / name for name in tracked):
        if path == Path(__file__) or not path.exists() or b"\0" in (content := path.read_bytes()):
            continue
        assert not re.search(rb"/(home|root|Users|tmp|work)/", content), path
        read += 1
    assert read > len(tracked) / 2
