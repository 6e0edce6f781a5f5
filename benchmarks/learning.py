"""What makes ``yolact-nano`` learn fast: every choice undone alone, then all of them together.

    python benchmarks/learning.py [--steps 400] [--size 160]

Trains on generated pictures, each variant with the same seed, and prints a Markdown table.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import yaml

import yolact
from yolact.data.generate import generate_dataset

NARROW = [[12.0 * n, 15.0 * n, 19.0 * n] for n in (1, 2, 4, 8, 16)]
VARIANTS: dict[str, dict[str, Any]] = {
    "`yolact-nano`": {},
    "MobileNetV4 small as backbone": {
        "model": {"backbone": "mobilenetv4_conv_small", "backbone_widths": None}
    },
    "anchors half as wide": {"model": {"anchors": {"scales": NARROW}}},
    "prototypes with ReLU": {"model": {"rectified_prototypes": True}},
    "class loss weighs 1, not 5": {"training": {"loss": {"class_weight": 1.0}}},
    "3 negatives per positive, not 1": {"training": {"loss": {"negatives_per_positive": 3}}},
    "IoU 0.5 / 0.4, not 0.4 / 0.3": {
        "training": {"loss": {"positive_iou": 0.5, "negative_iou": 0.4}}
    },
}


def main() -> None:
    """Train every variant and print its AP."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--size", type=int, default=160)
    arguments = parser.parse_args()
    variants = {**VARIANTS, "all of these": _merge(VARIANTS.values())}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        generate_dataset(data, num_train=1200, num_val=100, seed=0)
        for number, (name, changes) in enumerate(variants.items()):
            recipe = Path(folder, f"recipe_{number}.yaml")
            document = {"base": "yolact-nano", "size": arguments.size, **changes}
            recipe.write_text(yaml.safe_dump(_scaled(document, arguments.size)), encoding="utf-8")
            run = yolact.train(
                data,
                model=str(recipe),
                out=Path(folder, f"run_{number}"),
                steps=arguments.steps,
                validations=1,
                copy_paste=0.0,  # pictures as they are: what is compared is the network
                mosaic=0.0,
                ema_decay=None,
            )
            assert run.metrics is not None
            mask, box = run.metrics.mask, run.metrics.box
            rows.append(f"| {name} | {mask.ap:.3f} | {mask.ap50:.3f} | {box.ap50:.3f} |")
    print("| variant | mask AP | mask AP50 | box AP50 |\n|---|---|---|---|")
    print("\n".join(rows))


def _merge(all_changes: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for changes in all_changes:
        for key, value in changes.items():
            nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = _merge([merged[key], value]) if nested else value
    return merged


def _scaled(document: dict[str, Any], size: int) -> dict[str, Any]:
    # Scales written in a recipe are pixels of its own input size; ours are given for 320.
    anchors = document.get("model", {}).get("anchors")
    if anchors is None:
        return document
    scales = [[scale * size / 320 for scale in level] for level in anchors["scales"]]
    return _merge([document, {"model": {"anchors": {"scales": scales}}}])


if __name__ == "__main__":
    main()
