"""What makes, checks and hands out the book: the targets of the Makefile, or ``python -m _tools`` in the folder ``book``."""

from pathlib import Path

BOOK = Path(__file__).resolve().parents[1]
ROOT = BOOK.parent
