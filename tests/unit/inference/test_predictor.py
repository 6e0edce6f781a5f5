from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import cv2
import numpy as np
import pytest
from PIL import Image

import yolact
from yolact.data.images import read_image
from yolact.errors import ImageError, UsageError
from yolact.inference.predictor import Predictor
from yolact.inference.sources import expand_sources, load_picture


@pytest.fixture(scope="module")
def model(tiny_run):
    return yolact.load(tiny_run, device="cpu")


@pytest.fixture
def pictures(tiny_data):
    return [tiny_data / "images" / f"val_{i:05d}.jpg" for i in range(4)]


def test_one_gives_a_result_and_a_list_gives_a_list(model, pictures):
    one = model(pictures[0], score=0)
    (listed,) = model([pictures[0]], score=0)
    assert one.path == listed.path == pictures[0]
    np.testing.assert_array_equal(one.boxes, listed.boxes)
    assert model([]) == []


def test_batches_do_not_change_the_answer(model, pictures):
    alone = list(model.stream(pictures, score=0, batch_size=1))
    together = list(model.stream(pictures, score=0, batch_size=3))
    assert [r.path for r in alone] == [r.path for r in together] == pictures
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_results_are_ordered_and_inside_the_picture(model, pictures):
    for result in model(pictures, score=0):
        assert (np.diff(result.scores) <= 0).all()
        assert result.boxes.dtype == np.float32
        assert result.labels.dtype == np.int64
        assert ((result.boxes >= 0) & (result.boxes <= (128, 96, 128, 96))).all()
        assert result.masks.numpy().shape == (len(result), 96, 128)


def test_score_and_limit(model, pictures):
    everything = model(pictures[0], score=0)
    some = model(pictures[0], score=float(everything.scores[3]))
    assert len(some) == (everything.scores > everything.scores[3]).sum()
    assert len(model(pictures[0], score=0, max_detections=2)) == 2
    with pytest.raises(UsageError, match="score must lie"):
        model(pictures[0], score=1.5)
    with pytest.raises(UsageError, match="at least 1"):
        model(pictures[0], max_detections=0)


def test_only_named_classes(model, pictures):
    everything = model(pictures[0], score=0, max_detections=1000)
    wanted = model.names.index("ring")
    for classes in ("ring", ["ring"]):
        rings = model(pictures[0], score=0, classes=classes, max_detections=3)
        np.testing.assert_array_equal(
            rings.scores, everything[everything.labels == wanted].scores[:3]
        )
    with pytest.raises(UsageError, match=r"no class 'rang'; it knows disc, .*ring"):
        model(pictures[0], classes=["ring", "rang"])
    with pytest.raises(UsageError, match="at least one class"):
        model(pictures[0], classes=[])


def test_choices_of_detection(model, pictures):
    own = model.metadata.detection
    assert model.detection() == model.detection(nms=None, crop=None) == own
    chosen = {"nms": "cross-class", "iou_threshold": 0.25, "score_threshold": 0.0}
    assert model.detection(**chosen) == replace(own, **chosen)
    everything = {"score": 0, "max_detections": 2000, "score_threshold": 0.0}
    once = model(pictures[0], **everything | chosen)
    assert len(once) < len(model(pictures[0], nms="greedy", **everything))
    cropped, whole = (model(pictures[0], score=0, crop=crop) for crop in ("hard", "none"))
    assert cropped.masks.area().sum() < whole.masks.area().sum()
    with pytest.raises(TypeError, match="nmss"):
        model(pictures[0], nmss="greedy")


class TestLetterbox:
    """The tiny model's input is 96x96; its weights are not asked how they like the bars."""

    @pytest.fixture
    def stretched(self, model):
        # A colour that a picture of bytes can have.
        config = replace(model.metadata.model, mean=(124.0, 117.0, 104.0))
        return Predictor(model.runtime, replace(model.metadata, model=config))

    @pytest.fixture
    def letterboxed(self, stretched):
        config = replace(stretched.metadata.model, letterbox=True)
        return Predictor(stretched.runtime, replace(stretched.metadata, model=config))

    def test_the_same_as_padding_the_picture_by_hand(self, letterboxed, stretched, pictures):
        for path in pictures[:2]:
            picture = read_image(path)  # 128x96
            padded = np.tile(np.array((124, 117, 104), dtype=np.uint8), (128, 128, 1))
            padded[16:112] = picture
            found, expected = letterboxed(picture, score=0), stretched(padded, score=0)
            assert len(found) == len(expected) > 20
            np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
            moved = expected.boxes - np.array((0, 16, 0, 16), dtype=np.float32)
            moved = moved.clip(0, np.array((128, 96, 128, 96)))
            np.testing.assert_allclose(found.boxes, moved, atol=1e-2)
            masks = expected.masks.numpy()[:, 16:112]
            assert masks.any()
            assert (found.masks.numpy() != masks).sum() <= masks.sum() / 1000

    def test_pictures_of_the_inputs_aspect_give_the_same(self, letterboxed, stretched, pictures):
        square = read_image(pictures[0])[:, 10:106]
        for picture in (square, cv2.resize(square, (192, 192)), cv2.resize(square, (50, 50))):
            one, other = letterboxed(picture, score=0), stretched(picture, score=0)
            np.testing.assert_array_equal(one.boxes, other.boxes)
            np.testing.assert_array_equal(one.scores, other.scores)
            np.testing.assert_array_equal(one.masks.numpy(), other.masks.numpy())

    def test_pictures_of_several_shapes_in_one_batch(self, letterboxed, pictures):
        picture = read_image(pictures[0])
        mixed = [picture, picture.transpose(1, 0, 2), picture[:5], np.zeros((1, 1, 3), np.uint8)]
        together = list(letterboxed.stream(mixed, score=0, batch_size=4))
        for given, result in zip(mixed, together, strict=True):
            height, width = given.shape[:2]
            assert result.image_size == (height, width)
            assert ((result.boxes >= 0) & (result.boxes <= (width, height) * 2)).all()
            assert result.masks.numpy().shape == (len(result), height, width)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
    ],
)
def test_arrays_must_be_rgb_bytes(array):
    with pytest.raises(ImageError, match="RGB uint8"):
        load_picture(array)


class SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    """A web server for the files of ``tmp_path``."""
    handler = partial(SilentHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_web_addresses(model, server, tmp_path):
    Image.new("RGB", (30, 20), "red").save(tmp_path / "a b.png")
    (tmp_path / "page.html").write_text("no picture")
    result = model(f"{server}/a%20b.png?size=1")
    assert (result.image_size, result.path.suffix) == ((20, 30), ".png")
    assert expand_sources([f"{server}/*.png"]) == [f"{server}/*.png"]
    for name, said in (("nothing.png", "404"), ("page.html", "page.html cannot be read")):
        with pytest.raises(ImageError, match=said):
            model(f"{server}/{name}")
    with pytest.raises(ImageError, match="cannot be fetched"):
        model("http://127.0.0.1:9/picture.png")


def test_a_pil_image_is_turned_upright():
    image = Image.new("RGB", (30, 20), "red")
    image.getexif()[0x0112] = 6
    assert load_picture(image).shape == (30, 20, 3)


def test_sources(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for name in ("folder/b.png", "folder/a.JPG", "folder/notes.txt", "c[1].png"):
        Path(name).touch()
    assert expand_sources(["folder"]) == [Path("folder/a.JPG"), Path("folder/b.png")]
    assert expand_sources(["folder/*.png", "folder/b.png"]) == [Path("folder/b.png")]
    assert expand_sources(["c[1].png"]) == [Path("c[1].png")]  # a file, though it looks like a glob
    Path("empty").mkdir()
    for typed in ("empty", "nothing*.png"):
        with pytest.raises(ImageError, match="is no picture"):
            expand_sources([typed])
