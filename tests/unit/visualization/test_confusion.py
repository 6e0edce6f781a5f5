import numpy as np

from yolact.visualization.confusion import draw_confusion


def test_the_share_of_the_row_is_the_colour():
    counts = np.array([[30, 0], [10, 10], [0, 0]])
    picture = draw_confusion(counts, ("cat", "dog", "nothing there"), ("cat", "dog"))
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    pixels = picture.reshape(-1, 3).astype(int)
    # Of the colour map "Blues": a whole row, a half, nothing.
    for colour in ((8, 48, 107), (106, 174, 214), (247, 251, 255)):
        assert (np.abs(pixels - colour).max(axis=1) <= 1).sum() > 100


def test_the_empty_matrix_of_no_classes():
    assert draw_confusion(np.zeros((1, 1), dtype=np.int64), ("nothing",), ("nothing",)).any()


def test_many_classes_have_no_numbers():
    names = tuple(str(number) for number in range(41))
    counts = np.eye(41, dtype=np.int64)
    assert np.array_equal(
        draw_confusion(counts, names, names), draw_confusion(3 * counts, names, names)
    )
