"""Writing files so that nobody ever reads half of one."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a path to write to; what was written there then takes the file's place in one move.

    A kill or an error leaves the file as it was. The path has the file's own name but for a last suffix ``.part``.

    Raises:
        OSError: the folder cannot be written.
    """
    part = file.with_name(f"{file.name}.part")
    try:
        yield part
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write text in UTF-8, in one move; an OSError says that the folder cannot be written."""
    with replacing(file) as part:
        part.write_text(text, encoding="utf-8")


def write_json(file: Path, content: object) -> None:
    """Write JSON in one move; an OSError says that the folder cannot be written."""
    write_text(file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
