"""Files of ``torch.export``: programs of tensor operations, read without running anything in them."""

import io
import json
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch.export import ExportedProgram

from yolact.artifacts.record import PROPERTIES
from yolact.errors import CheckpointError

_PARTS = (
    *("archive_", "byteorder", ".data/", "models/", "extra/"),
    *("data/weights/", "data/constants/", "data/sample_inputs/"),
)
"""Of an archive. Libraries, and the files that torch 2.7 and older unpickled, are in other places."""
_TENSORS = ("weight_", "tensor_")


def read_program(path: Path) -> tuple[ExportedProgram, dict[str, str]]:
    """The program in a ``.pt2`` file, and the named texts of its record.

    Raises:
        CheckpointError: If the file is no archive of such a program, or would run code when read.
    """
    _refuse_code(path)
    properties = dict.fromkeys(PROPERTIES, "")
    program = torch.export.load(path, extra_files=properties)
    return program, {name: text for name, text in properties.items() if text}


def _refuse_code(path: Path) -> None:
    """Make sure that an archive holds a program and its tensors, and nothing that torch would run."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            parts = [name.partition("/")[2] for name in names]
            if not any(part.startswith("models/") for part in parts):
                raise CheckpointError(f"{path} is not a program of torch.export.")
            if len({name.lower() for name in names}) < len(names) or not all(
                part.startswith(_PARTS) for part in parts
            ):
                raise CheckpointError(f"{path} holds more than a program, which could run code.")
            for name in names:
                if name.lower().endswith(".pt") and archive.getinfo(name).file_size:
                    torch.load(io.BytesIO(archive.read(name)), weights_only=True)
                if name.endswith("_config.json"):
                    _refuse_objects(json.loads(archive.read(name)), path)
    except UnpicklingError as error:
        raise CheckpointError(f"{path} holds pickled objects, which could run code.") from error
    except (zipfile.BadZipFile, ValueError, AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a readable .pt2 file: {error}") from error


def _refuse_objects(config: Any, path: Path) -> None:
    """Make sure that all entries of a list of tensors are the plain bytes of one."""
    for entry in config["config"].values():
        if entry["use_pickle"] or not entry["path_name"].startswith(_TENSORS):
            raise CheckpointError(f"{path} holds pickled objects, which could run code.")
