import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from damage import with_wrong_bytes
from yolact.data.images import image_sizes, list_images, read_image, to_rgb
from yolact.errors import ImageError

# 2 rows, 3 columns, no symmetry.
UPRIGHT = np.array(
    [
        [[255, 0, 0], [0, 255, 0], [0, 0, 255]],
        [[10, 20, 30], [120, 110, 100], [250, 240, 230]],
    ],
    dtype=np.uint8,
)

# How a camera held that way stores the upright picture (Exif 2.3, tag 0x0112).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def save(array, path, **options):
    Image.fromarray(np.ascontiguousarray(array)).save(path, **options)
    return path


def mode_of(path):
    with Image.open(path) as image:
        return image.mode


def grey_rows(values):
    """What a grey picture of these rows becomes."""
    return np.array([[[v, v, v] for v in row] for row in values], dtype=np.uint8)


def test_rgb_is_untouched(tmp_path):
    picture = read_image(save(UPRIGHT, tmp_path / "a.png"))
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, UPRIGHT)


def test_path_may_be_text(tmp_path):
    np.testing.assert_array_equal(read_image(str(save(UPRIGHT, tmp_path / "a.bmp"))), UPRIGHT)


def test_grey(tmp_path):
    path = save(np.array([[0, 7], [128, 255]], dtype=np.uint8), tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(path), grey_rows([[0, 7], [128, 255]]))


def test_grey_with_alpha_lies_on_white(tmp_path):
    # Opaque, invisible, half.
    path = save(np.array([[[40, 255], [40, 0], [0, 128]]], dtype=np.uint8), tmp_path / "a.png")
    assert mode_of(path) == "LA"
    np.testing.assert_array_equal(read_image(path), grey_rows([[40, 255, 127]]))


def test_rgba_lies_on_white(tmp_path):
    rgba = np.array([[[9, 8, 7, 255], [9, 8, 7, 0], [255, 0, 0, 51]]], dtype=np.uint8)
    path = save(rgba, tmp_path / "a.png")
    # A fifth of red over four fifths of white.
    expected = [[[9, 8, 7], [255, 255, 255], [255, 204, 204]]]
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 255])])
def test_palette_with_transparency(tmp_path, transparency):
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 0, 0, 0, 200, 100, 50])
    image.putdata([0, 1, 2])
    image.save(tmp_path / "a.png", transparency=transparency)
    expected = [[[10, 20, 30], [255, 255, 255], [200, 100, 50]]]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_palette_without_transparency(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    image.save(tmp_path / "a.gif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif"), [[[10, 20, 30], [200, 100, 50]]])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey_keeps_its_range(tmp_path, suffix):
    values = np.array([[0, 257, 128 * 257], [65535, 128, 129]], dtype=np.uint16)
    path = save(values, tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_image(path), grey_rows([[0, 1, 128], [255, 0, 1]]))


def test_sixteen_bit_grey_is_turned_too(tmp_path):
    values = np.array([[0, 257, 514], [65535, 771, 1028]], dtype=np.uint16)
    path = save(np.rot90(values), tmp_path / "a.png", exif=exif(6))
    np.testing.assert_array_equal(read_image(path), grey_rows([[0, 1, 2], [255, 3, 4]]))


def test_float_tiff_between_zero_and_one(tmp_path):
    path = save(np.array([[0, 0.2, 1], [-1, 0.5, 0.6]], dtype=np.float32), tmp_path / "a.tif")
    assert mode_of(path) == "F"
    np.testing.assert_array_equal(read_image(path), grey_rows([[0, 51, 255], [0, 128, 153]]))


def test_float_tiff_in_grey_levels(tmp_path):
    values = np.array([[0, 1.4, 200], [-5, 300, np.inf], [np.nan, -np.inf, 77]], dtype=np.float32)
    path = save(values, tmp_path / "a.tif")
    expected = grey_rows([[0, 1, 200], [0, 255, 255], [0, 0, 77]])
    np.testing.assert_array_equal(read_image(path), expected)


def test_cmyk_jpeg(tmp_path):
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan: red
    image.save(tmp_path / "a.jpg", quality=95)
    picture = read_image(tmp_path / "a.jpg")
    assert picture.shape == (16, 16, 3)
    np.testing.assert_allclose(picture[8, 8], [255, 0, 0], atol=3)


def test_one_bit(tmp_path):
    path = save(np.array([[True, False, True]]), tmp_path / "a.png")
    assert mode_of(path) == "1"
    np.testing.assert_array_equal(read_image(path), grey_rows([[255, 0, 255]]))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_becomes_upright(tmp_path, orientation, suffix):
    options = {"lossless": True} if suffix == ".webp" else {}
    stored = STORED[orientation](UPRIGHT)
    path = save(stored, tmp_path / f"a{suffix}", exif=exif(orientation), **options)
    np.testing.assert_array_equal(read_image(path), UPRIGHT)
    assert image_sizes(path) == ((2, 3), stored.shape[:2])
    with Image.open(path) as image:  # as a user hands it over, its pixels not read yet
        np.testing.assert_array_equal(to_rgb(image), UPRIGHT)


@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_of_jpeg(tmp_path, orientation):
    upright = np.kron(UPRIGHT, np.ones((16, 16, 1), dtype=np.uint8))
    path = tmp_path / "a.jpg"
    save(STORED[orientation](upright), path, exif=exif(orientation), quality=100, subsampling=0)
    np.testing.assert_allclose(read_image(path).astype(int), upright, atol=8)
    assert image_sizes(path)[0] == (32, 48)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_orientations_that_do_not_exist_turn_nothing(tmp_path, orientation):
    path = save(UPRIGHT, tmp_path / "a.png", exif=exif(orientation))
    np.testing.assert_array_equal(read_image(path), UPRIGHT)
    assert image_sizes(path) == ((2, 3), (2, 3))


@pytest.mark.parametrize("damage", [b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01", b"xyz"])
def test_broken_exif_turns_nothing(tmp_path, damage):
    picture = np.full((8, 16, 3), 100, dtype=np.uint8)
    path = save(picture, tmp_path / "a.jpg", exif=damage)
    assert read_image(path).shape == (8, 16, 3)
    assert image_sizes(path) == ((8, 16), (8, 16))


def test_exif_behind_the_pixels_is_ignored_by_both(tmp_path):
    """Size and picture must never disagree, or labels would silently be off."""
    path = save(UPRIGHT, tmp_path / "a.png")
    body = exif(6).tobytes().removeprefix(b"Exif\0\0")
    chunk = b"eXIf" + body
    chunk = struct.pack(">I", len(body)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    whole = path.read_bytes()
    path.write_bytes(whole[:-12] + chunk + whole[-12:])  # the last twelve bytes are IEND
    assert read_image(path).shape[:2] == image_sizes(path)[0] == (2, 3)


def test_sizes_come_from_the_header(tmp_path):
    """A data set of PNG pictures would take minutes to check otherwise."""
    path = save(np.zeros((500, 700), dtype=np.uint8), tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:60])
    assert image_sizes(path) == ((500, 700), (500, 700))
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(path)


def test_truncated_jpeg(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(noise, tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError, match=r"a\.jpg cannot be read as a picture: .*truncated"):
        read_image(path)


@pytest.mark.parametrize("read", [read_image, image_sizes])
def test_what_is_no_picture(tmp_path, read):
    (tmp_path / "text.jpg").write_text("Dear diary")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    for name in ("text.jpg", "empty.png", "folder.png", "a\0b.png", "x" * 5000):
        with pytest.raises(ImageError, match="cannot be read as a picture"):
            read(tmp_path / name)
    with pytest.raises(ImageError, match=r"there is no picture .*gone\.png"):
        read(tmp_path / "gone.png")


@pytest.mark.parametrize("read", [read_image, image_sizes])
def test_damaged_files_raise_only_image_errors(tmp_path, read):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / "damaged"
    for suffix in (".png", ".jpg", ".tif", ".webp", ".gif", ".ppm"):
        whole = save(noise, tmp_path / f"a{suffix}", exif=exif(6)).read_bytes()
        for _ in range(40):
            damaged = with_wrong_bytes(whole, rng, 3, among=min(len(whole), 300))
            path.write_bytes(damaged[: rng.integers(len(whole) // 2, len(whole) + 1)])
            try:
                read(path)
            except ImageError as error:
                assert str(path) in str(error)  # noqa: PT017 - most damage is fatal, not all


@pytest.mark.parametrize("read", [read_image, image_sizes])
def test_decompression_bomb(tmp_path, monkeypatch, read):
    path = save(np.zeros((10, 10), dtype=np.uint8), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 49)
    with pytest.raises(ImageError, match="decompression bomb"):
        read(path)


def test_a_large_picture_is_read_without_a_warning(tmp_path, monkeypatch):
    """Between one and two times the limit Pillow only warns, and here warnings are errors."""
    path = save(np.full((10, 10), 3, dtype=np.uint8), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert read_image(path).shape == (10, 10, 3)
        assert image_sizes(path) == ((10, 10), (10, 10))
    assert not caught


def test_reading_in_threads_leaves_the_warning_filters_alone(tmp_path):
    path = save(UPRIGHT, tmp_path / "a.png")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(read_image, [path] * 200))
    assert all((picture == UPRIGHT).all() for picture in pictures)
    assert warnings.filters == before


def test_pillow_images_in_memory():
    image = Image.fromarray(np.ascontiguousarray(np.rot90(UPRIGHT)))
    image.getexif()[0x0112] = 6
    np.testing.assert_array_equal(to_rgb(image), UPRIGHT)


def test_text_chunks_beyond_reason(tmp_path):
    """Pillow refuses compressed text that explodes; its exception must not escape."""
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * 3_000_000, zip=True)
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png", pnginfo=info)
    with pytest.raises(ImageError):
        image_sizes(tmp_path / "a.png")


def test_list_images(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", "c.tiff"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG", "c.tiff"]
