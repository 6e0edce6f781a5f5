"""COCO's files: where a data set has them."""

from pathlib import Path

from yolact.errors import DataError


def find_split(data: Path, split: str) -> tuple[Path, Path]:
    """Folder of pictures and annotation file of one split of ``data``.

    Looks for ``annotations/instances_<split>.json`` (also with a year, as COCO has it), with the
    pictures in ``images/``, ``<split>/`` or ``<split><year>/``; then for ``image_info_…`` in the
    same way, as of COCO's test sets. The pictures of ``test-dev2017`` are those of ``test2017``.

    Raises:
        DataError: If either is missing; the message says what was looked for.
    """
    if not data.is_dir():
        raise DataError(f"there is no data folder {data}.")
    folder = data / "annotations"
    found = [
        path
        for kind in ("instances", "image_info")
        for path in (
            folder / f"{kind}_{split}.json",
            *sorted(folder.glob(f"{kind}_{split}20*.json")),
        )
    ]
    annotations = next((path for path in found if path.is_file()), None)
    if annotations is None:
        raise DataError(f"{data} has no annotations/instances_{split}.json.")
    name = split_name(annotations)
    names = (name, f"images/{name}", f"images/{split}", name.replace("-dev", ""), "images")
    images = next((data / folder for folder in names if (data / folder).is_dir()), None)
    if images is None:
        raise DataError(f"{data} has neither a folder {name} nor one called images.")
    return images, annotations


def split_name(annotations: Path) -> str:
    """What an annotation file calls its split: ``val2017`` of ``instances_val2017.json``."""
    return annotations.stem.removeprefix("instances_").removeprefix("image_info_")
