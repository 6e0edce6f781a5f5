"""Writing files whole: a kill leaves either the old file or the new one, never half of one."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yolact.errors import UsageError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it takes the place of ``path``.

    The temporary name keeps the suffix, because many writers choose their format by it. If the
    block raises, the temporary file is removed and ``path`` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; on success it takes the place of ``path``.

    If the block raises, nothing is left of it.

    Raises:
        UsageError: If ``path`` exists and is no empty folder.
    """
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            path.rmdir()  # Windows replaces nothing, not even an empty folder
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_existing(path: Path) -> None:
    """Refuse to make a folder where there is something.

    Raises:
        UsageError: If ``path`` exists and is no empty folder.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} already exists and is not an empty folder.")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8, whole."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, hexadecimal. The file is never in memory as a whole."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing_list(path: str | os.PathLike[str]) -> Iterator[Callable[[Iterable[Any]], None]]:
    """Write a JSON list piece by piece, whole at the end; none of it stays in memory.

    Gives a function that appends entries to the list. If the block raises, ``path`` stays as it
    was.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        separator = "["

        def append(entries: Iterable[Any]) -> None:
            nonlocal separator
            for entry in entries:
                file.write(separator + json.dumps(entry))
                separator = ",\n"

        yield append
        file.write("[]" if separator == "[" else "]")


def _umask() -> int:
    # The mask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
