"""Files of ``torch.export``: programs of tensor operations, read without running anything in them."""

import io
import json
import zipfile
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch.export import ExportedProgram

from yolact.artifacts.record import PROPERTIES
from yolact.errors import CheckpointError


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
    """Make sure that no pickle of the archive is more than tensors: torch would run what it says."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if not any("/models/" in name for name in names):
                raise CheckpointError(f"{path} is not a program of torch.export.")
            for name in names:
                if name.endswith(".pt") and archive.getinfo(name).file_size:
                    torch.load(io.BytesIO(archive.read(name)), weights_only=True)
                if name.endswith("_config.json"):
                    entries = json.loads(archive.read(name)).get("config", {})
                    if any(entry.get("use_pickle") for entry in entries.values()):
                        raise CheckpointError(
                            f"{path} holds pickled objects, which could run code."
                        )
    except UnpicklingError as error:
        raise CheckpointError(f"{path} holds pickled objects, which could run code.") from error
    except (zipfile.BadZipFile, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable .pt2 file: {error}") from error
