"""Do exported files answer like their models? Presets, formats and real pictures in one table.

    python benchmarks/export_parity.py --pictures photos coco_cc --models yolact-nano yolact-resnet50

A preset has random weights unless a trained file is given as NAME=FILE. Random class scores are all
alike, so they are spread first: class logits and coefficients are multiplied, and the background's
logits raised until about twenty anchors of a picture stand out. Nothing else is changed.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from yolact.data.images import list_images, read_image
from yolact.errors import ExportError
from yolact.export.parity import Parity
from yolact.inference.export import export
from yolact.inference.load import load, untrained
from yolact.inference.predictor import Predictor

_SPREAD = 3.0  # standard deviation of the class logits; of coefficients half of it
_STANDING_OUT = 20  # anchors of a picture with a score above one half


def model_called(text: str, pictures: list[Path]) -> Predictor:
    """NAME=FILE, or a preset with random weights that finds a few things in these pictures."""
    name, _, file = text.partition("=")
    if file:
        return load(file, device="cpu")
    model = untrained(name, device="cpu")
    head = model.runtime.network.head
    with torch.inference_mode():
        images = model.preprocessor([read_image(path) for path in pictures[:4]])
        found = model.runtime.run(images)
        head.classes.weight.data *= _SPREAD / found.class_logits.std()
        head.coefficients.weight.data *= _SPREAD / 2 / found.coefficients.std()
        logits = model.runtime.run(images).class_logits
        lead = logits[..., 1:].amax(-1) - logits[..., 0]
        level = lead.topk(_STANDING_OUT, dim=1).values[:, -1].mean()
    head.classes.bias.data.view(-1, logits.shape[-1])[:, 0] += level
    return model


def row(name: str, suffix: str, parity: Parity, seconds: float) -> str:
    """One line of the table."""
    total = parity.total
    return (
        f"| {name} | {suffix} | {len(parity.pictures)} | {total.matched} of {total.expected} | "
        f"{total.unmatched} | {total.box_difference:.1e} | {total.score_difference:.1e} | "
        f"{total.least_iou:.4f} | {total.mean_iou:.6f} | {seconds:.0f} |"
    )


def main() -> None:
    """Export, compare, and print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", nargs="+", type=Path, required=True, help="folders or files")
    parser.add_argument("--models", nargs="+", default=["yolact-nano"], metavar="NAME[=FILE]")
    parser.add_argument("--formats", nargs="+", default=[".onnx", ".xml", ".pt2"])
    parser.add_argument(
        "--number", type=int, default=20, help="of pictures, from each folder alike"
    )
    parser.add_argument("--json", type=Path, help="write everything there")
    arguments = parser.parse_args()
    folders = [list_images(p) if p.is_dir() else [p] for p in arguments.pictures]
    share = -(-arguments.number // len(folders))
    pictures = [path for folder in folders for path in folder[:share]][: arguments.number]
    documents = []
    print("| model | file | pictures | detections | alone | box px | score | IoU min | mean | s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for text in arguments.models:
        name = text.partition("=")[0]
        model = model_called(text, pictures)
        for suffix in arguments.formats:
            with tempfile.TemporaryDirectory() as folder:
                started = time.monotonic()
                try:
                    parity = export(model, Path(folder, f"model{suffix}"), pictures=pictures)
                except ExportError as error:
                    if not isinstance(error.parity, Parity):
                        raise
                    print(f"| {name} | {suffix} | {error} |")
                    parity = error.parity
                print(row(name, suffix, parity, time.monotonic() - started), flush=True)
                documents.append({"model": name, "file": suffix, **parity.to_dict()})
    if arguments.json:
        arguments.json.write_text(json.dumps(documents, indent=1))


if __name__ == "__main__":
    main()
