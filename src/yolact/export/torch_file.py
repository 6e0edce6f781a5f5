"""Networks as programs of torch.export: ``.pt2`` files, which run without this package."""

from pathlib import Path

import torch
from torch.export import ExportedProgram

from yolact.artifacts.record import ExportRecord
from yolact.files import replacing


def write_program(program: ExportedProgram, record: ExportRecord, path: Path) -> None:
    """Write one file with everything in it, whole."""
    with replacing(path) as temporary:
        torch.export.save(program, temporary, extra_files=record.to_properties())
