"""Networks as programs of torch.export: ``.pt2`` files, which run without this package."""

from pathlib import Path

import torch
from torch.export import ExportedProgram

from yolact.artifacts.record import PROPERTIES, ExportRecord
from yolact.files import replacing


def write_program(program: ExportedProgram, record: ExportRecord, path: Path) -> None:
    """Write one file with everything in it, whole."""
    with replacing(path) as temporary:
        torch.export.save(program, temporary, extra_files=record.to_properties())


def read_program(path: Path) -> tuple[ExportedProgram, dict[str, str]]:
    """What :func:`write_program` wrote: the program, and the named texts of its record."""
    properties = dict.fromkeys(PROPERTIES, "")
    program = torch.export.load(path, extra_files=properties)
    return program, {name: text for name, text in properties.items() if text}
