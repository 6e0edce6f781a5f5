import numpy as np
import pytest

from yolact.errors import ImageError
from yolact.reporting.scene import picture_from, picture_uri


def test_a_picture_comes_back_out_of_its_uri():
    picture = np.zeros((16, 24, 3), np.uint8)
    picture[..., 0] = 200  # red: the order of channels shows
    np.testing.assert_allclose(picture_from(picture_uri(picture)), picture, atol=6)


@pytest.mark.parametrize("uri", ["", "data:image/jpeg;base64,x", "data:image/jpeg;base64,aaaa"])
def test_what_is_no_picture_is_refused(uri):
    with pytest.raises(ImageError, match="a watched picture of the run"):
        picture_from(uri)
