"""The beginning of a chapter: a small one that has all that a chapter has, and passes the tests."""

import re
from pathlib import Path

from _tools import BOOK, ROOT
from imr.files import write_text

TEMPLATE = BOOK / "_templates" / "chapter.md"


class ChapterError(ValueError):
    """The chapter cannot be begun; the message says why and what to do."""


def begin(name: str, title: str, root: Path = ROOT) -> Path:
    """Write the text of a new chapter, list it in the table of contents after the last one, and return its file.

    Args:
        name: of the file, NN-topic.
        title: of the chapter.
        root: of the project.

    Raises:
        ChapterError: a name of another form, no title, or a chapter that is there already.
    """
    if not re.fullmatch(r"\d\d-[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ChapterError(f"the name is {name!r}, expected NN-topic in small letters and hyphens, such as 13-my-topic")
    if not title.strip():
        raise ChapterError("the title is empty, expected the heading of the chapter")
    text, contents = root / "book" / "chapters" / f"{name}.md", root / "_toc.yml"
    taken = [path.name for path in text.parent.glob(f"{name[:2]}-*.md")]
    if taken:
        raise ChapterError(f"there is a chapter {name[:2]} already, {taken[0]}: choose another number")
    begun = TEMPLATE.read_text(encoding="utf-8").replace("TITLE", title.strip()).replace("NAME", name.partition("-")[2])
    write_text(text, begun)
    before, last, after = contents.read_text(encoding="utf-8").rpartition("      - file: book/notebooks/")
    rest, _, below = after.partition("\n")
    entry = f"      - file: book/notebooks/{name}"
    write_text(contents, f"{before}{last}{rest}\n{entry}\n{below}")
    return text
