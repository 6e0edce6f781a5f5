"""With the author's weights, his own detections of a COCO picture (spec, Appendix B)."""

from urllib.request import urlopen

import numpy as np
import pytest

import yolact

PICTURE = "http://images.cocodataset.org/val2017/000000000885.jpg"

# Name, score, box x y width height, pixels of the mask. Boxes were cut to whole pixels.
EXPECTED = (
    ("tennis racket", 0.997103, (394, 270, 84, 38), 1835),
    ("person", 0.947021, (276, 189, 131, 210), 10809),
    ("person", 0.918267, (293, 85, 101, 142), 6243),
    ("sports ball", 0.847196, (244, 204, 41, 38), 1106),
    ("person", 0.416953, (499, 0, 53, 17), 497),
)


@pytest.fixture
def network():
    """Skips where the picture and the weights cannot be reached."""
    for address in (PICTURE, "https://huggingface.co"):
        try:
            urlopen(address, timeout=10).close()
        except OSError as error:
            pytest.skip(f"{address} cannot be reached: {error}")


@pytest.mark.network
@pytest.mark.usefixtures("network")
def test_the_authors_detections_of_image_885():
    result = yolact.load("yolact-resnet50")(PICTURE, score=0.3)
    assert result.image_size == (427, 640)
    for i, (name, score, (x, y, width, height), pixels) in enumerate(EXPECTED):
        assert result.names[result.labels[i]] == name
        assert result.scores[i] == pytest.approx(score, abs=2e-3)
        np.testing.assert_allclose(result.boxes[i], (x, y, x + width, y + height), atol=2)
        # The original cropped at whole pixels then, which moves an edge by one prototype pixel.
        assert result.masks.area()[i] == pytest.approx(pixels, rel=0.06)
