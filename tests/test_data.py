import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from imr import data

REAL = data.folder()  # where the real files are, if they are
FILES = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty cache folder, and no IMR_DATA."""
    monkeypatch.delenv("IMR_DATA", raising=False)
    monkeypatch.setattr(data, "cache", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def damaged(tmp_path):
    """A folder in which all four files are there, and none is Fashion-MNIST."""
    raw = tmp_path / "set" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        (raw / name).write_bytes(b"not a data set")
    return tmp_path / "set"


@pytest.mark.fashion_mnist
def test_the_real_fashion_mnist():
    images = data.load("fashion-mnist")
    assert [len(part) for part in (images.train, images.validation, images.test)] == [50_000, 10_000, 10_000]
    assert images.train.X.shape == (50_000, 28, 28)
    assert images.train.X.dtype == torch.float32
    assert images.train.y.dtype == torch.int64
    assert (images.train.X.min(), images.train.X.max()) == (0, 1)
    assert images.test.y.bincount().tolist() == [1000] * 10
    with gzip.open(data._raw(REAL) / "train-labels-idx1-ubyte.gz") as file:
        labels = list(file.read()[8:])
    assert torch.cat([images.train.y, images.validation.y]).tolist() == labels  # the last 10,000 are held out
    assert images.classes[9] == "Ankle boot" and images.classes[images.test.y[0]] == "Ankle boot"
    assert set(images.md5) == set(FILES)


@pytest.mark.fashion_mnist
def test_a_root_is_only_read(tmp_path, own_cache):
    source, root = data._raw(REAL), tmp_path / "root"
    root.mkdir()
    for name in FILES:
        (root / name).symlink_to(source / name)  # the four files and nothing else
    root.chmod(0o555)
    assert len(data.load("fashion-mnist", root).test) == 10_000
    assert sorted(path.name for path in root.iterdir()) == sorted(FILES)


@pytest.mark.fashion_mnist
def test_a_truncated_copy_is_refused(tmp_path, own_cache):
    source = data._raw(REAL)
    for name in FILES:
        (tmp_path / name).symlink_to(source / name)
    images = tmp_path / "t10k-images-idx3-ubyte.gz"
    images.unlink()
    images.write_bytes((source / images.name).read_bytes()[:-1000])
    with pytest.raises(data.DataError, match=r"t10k-images-idx3-ubyte\.gz is damaged: its MD5 is \w{32}, expected bef4ecab"):
        data.load("fashion-mnist", tmp_path)


def test_digits_need_nothing():
    digits = data.load("digits")
    assert [len(part) for part in (digits.train, digits.validation, digits.test)] == [1197, 300, 300]
    assert digits.test.X.shape == (300, 8, 8)
    assert (digits.train.X.min(), digits.train.X.max()) == (0, 1)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown data set 'mnist', expected one of: fashion-mnist, digits"):
        data.load("mnist")


def test_a_missing_file_is_named_with_its_md5_and_what_to_do(tmp_path):
    with pytest.raises(data.DataError) as error:
        data.load("fashion-mnist", tmp_path)
    for part in (
        "train-images-idx3-ubyte.gz of Fashion-MNIST",
        "is missing in",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "--download",
        "IMR_DATA",
        "digits",
    ):
        assert part in str(error.value)


def test_a_damaged_file_is_named_with_both_md5s(damaged):
    with pytest.raises(data.DataError) as error:
        data.load("fashion-mnist", damaged)
    for part in ("train-images-idx3-ubyte.gz is damaged", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "MD5 is", "Delete it"):
        assert part in str(error.value)


def test_a_root_that_is_given_is_never_replaced_by_another(tmp_path, own_cache, damaged, monkeypatch):
    monkeypatch.setenv("IMR_DATA", str(damaged))
    with pytest.raises(data.DataError, match="is missing"):
        data.verify(tmp_path)
    with pytest.raises(data.DataError, match="is damaged"):
        data.verify()


def test_order_of_the_folders(own_cache, monkeypatch):
    assert data.folder() == own_cache
    monkeypatch.setenv("IMR_DATA", "/from/environment")
    assert data.folder() == Path("/from/environment")
    assert data.folder("/from/argument") == Path("/from/argument")


def _fake(monkeypatch, raw):
    """Make the checksums of the given files the expected ones."""
    resources = [(name, data.hashlib.md5((raw / name).read_bytes()).hexdigest()) for name in FILES]
    monkeypatch.setattr(data._fashion_mnist(), "resources", resources)


def test_a_file_that_changes_is_found_though_its_size_and_time_are_kept(damaged, monkeypatch):
    file = damaged / "FashionMNIST" / "raw" / FILES[0]
    _fake(monkeypatch, file.parent)
    data.verify(damaged)
    before = file.stat()
    file.write_bytes(b"not A data set")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(data.DataError, match="is damaged"):
        data.verify(damaged)


def test_no_network_names_the_ways_that_remain(own_cache, monkeypatch):
    def refuse(self):
        raise RuntimeError("Error downloading\nTried a host, got: no network")

    monkeypatch.setattr(data._fashion_mnist(), "download", refuse)
    with pytest.raises(data.DataError) as error:
        data.load("fashion-mnist")
    assert "no network" in str(error.value) and "\n" not in str(error.value)
    for way in ("data --download", "IMR_DATA", "digits"):
        assert way in str(error.value)


def test_download_replaces_damaged_files_and_keeps_whole_ones(own_cache, monkeypatch):
    raw = own_cache / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        (raw / name).write_bytes(name.encode())
    _fake(monkeypatch, raw)
    (raw / FILES[1]).write_bytes(b"cut")
    left = []
    monkeypatch.setattr(data._fashion_mnist(), "__init__", lambda self, root, download: left.extend(os.listdir(raw)))
    data.download()
    assert sorted(left) == sorted(set(FILES) - {FILES[1]})


def test_torchvision_imports_beside_any_build_of_torch():
    code = "from imr.vision import import_torchvision as f; assert f() is f(); print(f().datasets.FashionMNIST.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "FashionMNIST\n", done.stderr
