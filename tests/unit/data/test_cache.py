import multiprocessing
import pickle
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolact.data import cache as cache_module
from yolact.data.cache import ImageCache, free_memory, image_cache
from yolact.data.coco import ImageRecord
from yolact.data.images import read_image
from yolact.errors import ImageError, UsageError

SIZES = [(5, 7), (1, 1), (64, 3), (20, 30)]


@pytest.fixture
def records(tmp_path):
    rng = np.random.default_rng(0)
    made = []
    for number, size in enumerate(SIZES):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
        made.append(ImageRecord(number, path, *size, ()))
    return tuple(made)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder of the cache's file."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_kept_pictures_are_the_pictures(records, temporary):
    cache = ImageCache(records)
    expected = [read_image(record.path) for record in records]
    for _ in range(2):
        for position in (2, 0, 3, 1):
            np.testing.assert_array_equal(cache.read(position), expected[position])
    for record in records:
        record.path.unlink()
    for position, picture in enumerate(expected):
        np.testing.assert_array_equal(cache.read(position), picture)


@pytest.mark.parametrize(("context", "workers"), [("fork", 2), ("spawn", 1)])
def test_what_workers_decode_all_have(records, temporary, context, workers):
    cache = ImageCache(records)
    expected = [read_image(record.path) for record in records]
    cache.read(0)
    records[0].path.unlink()
    with multiprocessing.get_context(context).Pool(workers) as pool:
        pictures = pool.map(cache.read, range(len(SIZES)))
        pool.close()  # workers that end by themselves: no signal has to reach them
        pool.join()
    for picture, wanted in zip(pictures, expected, strict=True):
        np.testing.assert_array_equal(picture, wanted)
    # The workers that have ended leave the file to the others.
    for position, record in enumerate(records):
        record.path.unlink(missing_ok=True)
        np.testing.assert_array_equal(cache.read(position), expected[position])


def test_the_file_goes_with_the_cache(records, temporary):
    cache = ImageCache(records)
    other = pickle.loads(pickle.dumps(cache))
    np.testing.assert_array_equal(other.read(0), cache.read(0))
    del other
    assert len(list(temporary.iterdir())) == 1
    del cache
    assert not list(temporary.iterdir())


def test_errors_are_those_of_reading(records, temporary):
    records[1].path.unlink()
    with pytest.raises(ImageError, match=r"there is no picture .*1\.png"):
        ImageCache(records).read(1)


def test_a_picture_of_another_size_is_not_kept(records, temporary):
    cache = ImageCache(records)
    Image.new("RGB", (9, 9)).save(records[0].path)
    assert cache.read(0).shape == (9, 9, 3)
    Image.new("RGB", (7, 5), "red").save(records[0].path)
    assert cache.read(0)[0, 0].tolist() == [255, 0, 0]


def test_a_full_disk_costs_time_only(records, temporary, monkeypatch):
    cache = ImageCache(records)
    opened = Path.open

    def full(path, mode="r", *args, **kwargs):
        if mode == "r+b":
            raise OSError(28, "No space left on device")
        return opened(path, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    for _ in range(2):
        np.testing.assert_array_equal(cache.read(3), read_image(records[3].path))


def test_by_default_pictures_are_kept_if_they_fit(records, temporary, monkeypatch):
    needed = sum(3 * height * width for height, width in SIZES)
    usage = namedtuple("usage", "free")
    for memory, disk, fits in [
        (2 * needed, 2 * needed, True),
        (2 * needed - 2, 10 * needed, False),
        (10 * needed, 2 * needed - 2, False),
        (0, 10 * needed, False),
    ]:
        monkeypatch.setattr(cache_module, "free_memory", lambda memory=memory: memory)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder, disk=disk: usage(disk))
        assert (image_cache(records, None) is not None) == fits
        assert image_cache(records, False) is None
        assert image_cache(records, True) is not None


def test_no_room_is_said_before_training(records, temporary, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(100))
    with pytest.raises(
        UsageError, match=r"temporary has no room for the decoded images \(0\.0 GiB"
    ):
        image_cache(records, True)


def test_free_memory():
    assert 0 <= free_memory() < 2**50
