import json
import os
import stat

import pytest

from yolact.errors import UsageError
from yolact.files import new_folder, replacing, write_text, writing_list


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_new_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == tmp_path  # a move to another disk would not be atomic
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("name", ["a.safetensors", "a.tar.gz", "a", "ä b.JSON"])
def test_the_suffix_is_kept(tmp_path, name):
    path = tmp_path / name
    with replacing(path) as temporary:
        assert temporary.suffix == path.suffix
        assert temporary.exists()
    assert names(tmp_path) == [name]


def test_folders_are_made(tmp_path):
    write_text(tmp_path / "new" / "deep" / "a.txt", "x")
    assert (tmp_path / "new" / "deep" / "a.txt").read_text() == "x"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_failure_without_an_old_file_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="no"), replacing(tmp_path / "a.txt"):
        raise ValueError("no")
    assert names(tmp_path) == []


def test_a_folder_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OSError, match="directory"), replacing(tmp_path / "a.txt"):
        pass
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_of_any_new_file(tmp_path, umask, mode):
    """Temporary files are private; what takes their place must not be."""
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "x")
        assert os.umask(umask) == umask  # the mask itself is as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == mode


def test_text_is_utf8_and_paths_may_be_text(tmp_path):
    write_text(str(tmp_path / "a.txt"), "Grüße €\n")
    assert (tmp_path / "a.txt").read_bytes() == "Grüße €\n".encode()
    write_text(tmp_path / "a.txt", "")
    assert (tmp_path / "a.txt").read_bytes() == b""


def test_text_that_cannot_be_written_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "half \ud800")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("pieces", [[], [[]], [[1]], [[{"a": "ä"}, 2], [], [[3]]]])
def test_a_list_is_written_piece_by_piece(tmp_path, pieces):
    path = tmp_path / "a.json"
    with writing_list(path) as append:
        for piece in pieces:
            append(piece)
            assert not path.exists()
    assert json.loads(path.read_text()) == [entry for piece in pieces for entry in piece]
    assert names(tmp_path) == ["a.json"]


def test_half_a_list_is_not_left(tmp_path):
    def write_half():
        with writing_list(tmp_path / "a.json") as append:
            append([1])
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write_half()
    assert names(tmp_path) == []


@pytest.mark.parametrize("exists", [False, True])
def test_a_new_folder_appears_when_it_is_complete(tmp_path, exists):
    path = tmp_path / "deep" / "out"
    if exists:
        path.mkdir(parents=True)
    with new_folder(path) as temporary:
        (temporary / "a").write_text("a")
        assert temporary.parent == path.parent
        assert not path.exists() or names(path) == []
    assert names(path) == ["a"]
    assert names(path.parent) == ["out"]
    with (
        pytest.raises(UsageError, match="already exists and is not an empty folder"),
        new_folder(path),
    ):
        pass
    with pytest.raises(UsageError, match="already exists"), new_folder(path / "a"):
        pass


def test_of_a_folder_given_up_nothing_is_left(tmp_path):
    with pytest.raises(OSError, match="full"), new_folder(tmp_path / "out"):
        raise OSError("full")
    assert names(tmp_path) == []
