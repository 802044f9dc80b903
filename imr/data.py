"""Images: Fashion-MNIST through torchvision, and scikit-learn's digits, which need no download."""

import gzip
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import numpy as np
import platformdirs
import torch
from torch import Tensor

from imr.vision import import_torchvision

VALIDATION = 10_000  # the last of Fashion-MNIST's 60,000 training images; the test set chooses nothing
CENTRE = 0.286  # mean pixel of Fashion-MNIST's training images; pixels are centred for the computation, not in pictures


class DataError(RuntimeError):
    """A data set is missing, damaged or out of reach; the message says which file, what was found and what to do."""


@dataclass(frozen=True)
class Split:
    """Images X (n, height, width), float32 in [0, 1], and their classes y (n,), int64."""

    X: Tensor
    y: Tensor

    def __len__(self) -> int:
        """Count the images."""
        return len(self.y)


@dataclass(frozen=True)
class Dataset:
    """A data set in its three splits; ``md5`` maps the files it was read from to their checksums."""

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    md5: dict[str, str]


def load(name: str, root: str | Path | None = None) -> Dataset:
    """Load a data set by name.

    Args:
        name: "fashion-mnist" (28×28 pixels; 50,000 / 10,000 / 10,000 images) or "digits" (8×8; 1,197 / 300 / 300).
        root: folder of Fashion-MNIST, either torchvision's layout (``root/FashionMNIST/raw/*.gz``) or the four ``.gz``
            files themselves; it is only read. Without it the folder is ``IMR_DATA``, then a per-user cache, into which
            torchvision downloads the files (30 MB, once) if they are not there.

    Raises:
        ValueError: unknown name.
        DataError: a file is missing or damaged, or the download failed.
    """
    if name not in LOADERS:
        raise ValueError(f"unknown data set {name!r}, expected one of: {', '.join(LOADERS)}")
    return LOADERS[name](root)


def folder(root: str | Path | None = None) -> Path:
    """Where Fashion-MNIST is looked for: the argument, then ``IMR_DATA``, then the per-user cache folder."""
    return Path(root or os.environ.get("IMR_DATA") or cache()).expanduser()


def cache() -> Path:
    """The per-user folder for downloads."""
    return Path(platformdirs.user_cache_dir("imr", appauthor=False))


def is_present(root: str | Path | None = None) -> bool:
    """Whether the four files of Fashion-MNIST lie in the folder; neither verifies nor downloads them."""
    return all((_raw(folder(root)) / name).is_file() for name, _ in _fashion_mnist().resources)


def verify(root: str | Path | None = None) -> dict[str, str]:
    """Check the four files of Fashion-MNIST against torchvision's MD5 sums, and return these by file name.

    Raises:
        DataError: names the first missing or damaged file, the MD5 expected and found, and what to do.
    """
    for name, md5 in _fashion_mnist().resources:
        path = _raw(folder(root)) / name
        if not path.is_file():
            raise DataError(f"{name} of Fashion-MNIST (MD5 {md5}) is missing in {folder(root)}. {_WAYS}")
        content = path.read_bytes()
        found = _md5(content)
        if found != md5:
            raise DataError(
                f"{path} is damaged: its MD5 is {found}, expected {md5} ({len(content):,} bytes). "
                f"Delete it and fetch it anew. {_WAYS}"
            )
    return dict(_fashion_mnist().resources)


def download() -> Path:
    """Download Fashion-MNIST into the per-user cache through torchvision, with a progress bar; return the folder.

    Files that are there and whole are kept, damaged ones are replaced.

    Raises:
        DataError: no network, or the host does not answer; names the ways that remain.
    """
    target, dataset = cache(), _fashion_mnist()
    raw = target / "FashionMNIST" / "raw"
    for name, md5 in dataset.resources:
        path = raw / name
        if path.is_file() and _md5(path.read_bytes()) != md5:
            path.unlink()
        path.with_suffix("").unlink(missing_ok=True)  # torchvision takes an unpacked file for a whole one
    try:
        dataset(target, download=True)
    except (URLError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"Fashion-MNIST could not be downloaded ({reason}). {_WAYS}") from error
    finally:
        for name, _ in dataset.resources:
            (raw / name).with_suffix("").unlink(missing_ok=True)
    return target


_WAYS = (
    "Three ways remain: run 'python -m imr data --download' with a network; copy the four .gz files from any machine that "
    "has them and point IMR_DATA (or --data) at their folder; or use the data set 'digits', which needs no download."
)


def _load_fashion_mnist(root: str | Path | None) -> Dataset:
    if folder(root) == cache() and not is_present():
        download()
    md5 = verify(root)
    train, test = (
        Split(
            _read(root, f"{part}-images-idx3-ubyte.gz", (28, 28)).float() / 255,
            _read(root, f"{part}-labels-idx1-ubyte.gz", ()).long(),
        )
        for part in ("train", "t10k")
    )
    return Dataset(
        name="fashion-mnist",
        classes=tuple(_fashion_mnist().classes),
        train=Split(train.X[:-VALIDATION], train.y[:-VALIDATION]),
        validation=Split(train.X[-VALIDATION:], train.y[-VALIDATION:]),
        test=test,
        md5=md5,
    )


def _read(root: str | Path | None, name: str, shape: tuple[int, ...]) -> Tensor:
    """Read a verified file of the IDX format: a head of four bytes for each axis and four more, then bytes, (n, *shape)."""
    content = gzip.decompress((_raw(folder(root)) / name).read_bytes())
    head = 4 * (2 + len(shape))
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=head).reshape(-1, *shape).copy())


def _load_digits(root: str | Path | None) -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    X = torch.from_numpy(digits.images).float() / 16
    y = torch.from_numpy(digits.target).long()
    parts = [Split(X[a:b], y[a:b]) for a, b in ((0, 1197), (1197, 1497), (1497, 1797))]
    md5 = _md5(digits.images.tobytes() + digits.target.tobytes())
    return Dataset("digits", tuple("0123456789"), *parts, md5={"sklearn.datasets.load_digits": md5})


LOADERS: dict[str, Callable[[str | Path | None], Dataset]] = {"fashion-mnist": _load_fashion_mnist, "digits": _load_digits}


def _raw(root: Path) -> Path:
    nested = root / "FashionMNIST" / "raw"
    return root if not nested.is_dir() and any(root.glob("*-ubyte.gz")) else nested


def _fashion_mnist() -> type:
    return import_torchvision().datasets.FashionMNIST


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
