import pickle
import zipfile

import pytest
import torch

from yolact.errors import CheckpointError
from yolact.runtimes.program_file import read_program


class Doubled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return x * self.factor


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "doubled.pt2"
    exported = torch.export.export(Doubled(), (torch.ones(3),))
    torch.export.save(exported, path, extra_files={"yolact": "text"})
    return path


def test_what_was_written_is_read(program):
    found, properties = read_program(program)
    assert properties == {"yolact": "text"}
    assert found.module()(torch.ones(3)).tolist() == [2, 2, 2]


@pytest.mark.parametrize("name", ["data/sample_inputs/model.pt", "data/weights/other.pt"])
def test_a_pickle_is_refused_before_it_runs(program, tmp_path, name):
    spoilt, trace = tmp_path / "spoilt.pt2", tmp_path / "it-ran"
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(spoilt, "w") as new:
        for entry in old.namelist():
            if not entry.endswith(name):
                new.writestr(entry, old.read(entry))
        new.writestr(f"doubled/{name}", pickle.dumps(Evil(trace), protocol=2))
    with pytest.raises(CheckpointError, match="pickled objects, which could run code"):
        read_program(spoilt)
    assert not trace.exists()


def test_weights_said_to_be_pickled_are_refused(program, tmp_path):
    spoilt = tmp_path / "spoilt.pt2"
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(spoilt, "w") as new:
        for entry in old.namelist():
            content = old.read(entry)
            new.writestr(entry, content.replace(b'"use_pickle": false', b'"use_pickle": true'))
    with pytest.raises(CheckpointError, match="pickled objects"):
        read_program(spoilt)


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_other_files_are_refused_with_one_sentence(tmp_path, content):
    path = tmp_path / "other.pt2"
    if content is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("serialized_exported_program.json", "{}")
    else:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"other\.pt2 is not a"):
        read_program(path)


@pytest.mark.parametrize(
    "names",
    [
        ["doubled/data/aotinductor/model/x.so"],
        ["serialized_state_dict.json"],
        ["doubled/models/a", "doubled/models/A"],
    ],
)
def test_what_is_no_part_of_a_program_is_refused(program, names):
    with zipfile.ZipFile(program, "a") as archive:
        for name in names:
            archive.writestr(name, "")
    with pytest.raises(CheckpointError, match="more than a program"):
        read_program(program)


def test_objects_in_place_of_tensors_are_refused(program, tmp_path):
    spoilt = tmp_path / "spoilt.pt2"
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(spoilt, "w") as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry).replace(b'"weight_0"', b'"opaque_obj_0"'))
    with pytest.raises(CheckpointError, match="pickled objects"):
        read_program(spoilt)
