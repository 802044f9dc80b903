"""A tiny book with two claims, to try in seconds what is built from what their witnesses said."""

import io
from types import SimpleNamespace

import yaml
from _tools import claims
from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

CONFIG = {
    "extensions": ["myst_parser", "sphinx_proof", "_tools.ledger"],
    "html_theme": "basic",
    "include_patterns": ["book/**"],
    "myst_enable_extensions": ["dollarmath"],
    "nitpicky": True,
    "root_doc": "book/index",
    "source_suffix": {".md": "markdown"},  # or Sphinx keeps what myst_parser adds to its default for the next book
}
CHAPTER = """\
# A chapter

```{prf:lemma} It is small
:label: lem-small

For every $x$

$$ x = x . $$ (eq-small)
```

```{prf:proof}
Plain.
```

(cell-lem-small)=
A cell.

```{prf:theorem} It is large
:label: thm-large

By {prf:ref}`lem-small`, $y = y$.
```

```{prf:proof}
It follows from CITED.
```

(cell-thm-large)=
Another.
"""
LEDGER = "\n\n".join(
    f"```{{ledger}} {part}\n```" for part in ("counts", "claims", "rests_on", "proved", "by_hand", "left_out")
)
WITNESSES = "# Witnesses\n\n```{witnesses} ../notebooks/01-first\n```\n"
TESTS = """\
@proves("lem-small")
def test_lem_small_proof():
    assert "lemma"


@claim("thm-large", right="this formula", wrong={"minus": "that one"})
def test_thm_large_check(p, formula):
    return p.close(formula)


def test_lem_small_check():
    assert "small"
"""
FILE = "tests/claims/test_first.py"
COUNTS = {"refused": 1, "false and proved": 0, "true and proved": 1234}
CHECK = {"random": 40, "fixed": 8, "errors": [[1e-11, 2.3e-16]], "counts": {}}
SAID = {
    "lem-small": {
        "proof": {"file": FILE, "function": "test_lem_small_proof"},
        "check": {"file": FILE, "function": "test_lem_small_check", **CHECK, "errors": [], "counts": COUNTS},
        "wrong": {"none": {"problems": 2, "error": None}},
    },
    "thm-large": {
        "check": {"file": FILE, "function": "test_thm_large_check", **CHECK},
        "wrong": {"minus": {"problems": 1, "error": 0.5}, "twice": {"problems": 3, "error": 1.25}},
    },
}
LEFT_OUT = {"what": "That $z$.", "why": "no room."}
LISTED = {
    "lem-small": {"source": "paper", "proved": "the first half"},
    "thm-large": {"source": "own", "by_hand": "there is no $y$"},
}


INDEX = "# Title\n\n```{toctree}\n:numbered:\nnotebooks/01-first\nledger\nwitnesses/01-first\n```\n"


def build(folder, cited="{prf:ref}`lem-small`", listed=LISTED, said=SAID, tests=TESTS, **pages):
    """Build a tiny book: its pages, and what the build complained about."""
    files = {
        "book/index.md": INDEX,
        "book/notebooks/01-first.md": CHAPTER.replace("CITED", cited),
        "book/ledger.md": f"# Ledger\n\n{LEDGER}\n\n```{{leaning}}\n```\n",
        "book/witnesses/01-first.md": WITNESSES,
        "book/claims.yml": yaml.safe_dump({"claims": listed, "left_out": [LEFT_OUT]}, sort_keys=False),
        FILE: tests,
    } | {f"book/{name}.md": text for name, text in pages.items()}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    if said:
        claims.write_results(folder, said)
    warnings = io.StringIO()
    with patch_docutils(), docutils_namespace():
        Sphinx(folder, None, folder / "out", folder / "trees", "html", CONFIG, None, warnings).build()
    made = {}
    for name in ("index", "ledger", "notebooks/01-first", "witnesses/01-first"):
        html = (folder / "out" / "book" / f"{name}.html").read_text()
        made[name.partition("/")[0]] = BeautifulSoup(html, "html.parser")
    return SimpleNamespace(**made, warnings=warnings.getvalue())


def words(node):
    return " ".join(node.get_text().replace("¶", "").split())
