"""Training recipes compared on one data set: the same model and number of steps, several seeds.

    python benchmarks/recipes.py nuclei --recipes original,modern --seeds 0,1,2 --steps 1000 --out runs/nuclei.json

Trains one run after the other in folders beside ``--out``, and writes the results after each, so that
the command goes on where it was stopped. Prints a Markdown table, and draws the first seed's curves
into a PNG of the same name.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch

from yolact.artifacts.run_directory import LAST_CHECKPOINT, METRICS_LOG, read_metrics
from yolact.files import write_text
from yolact.training.run import train
from yolact.visualization.curves import draw_comparison

MEASURED = ("mask/ap", "mask/ap50", "box/ap", "box/ap50")


def main() -> None:
    """Train what is missing, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="data set with train and val split")
    parser.add_argument("--recipes", default="original,modern", help="names or YAML files")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--model", default="yolact-nano", help="a preset or a recipe with a base")
    parser.add_argument("--steps", type=int, default=1000, help="at a batch size of 8")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--size", type=int, help="side of the network input, pixels")
    parser.add_argument("--validations", type=int, default=4)
    parser.add_argument("--threads", type=int, help="of the network; all cores by default")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/recipes.json"), metavar="FILE")
    arguments = parser.parse_args()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    recipes = arguments.recipes.split(",")
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    # What must be equal for runs to be compared; runs of another kind are kept, and not shown.
    kind = {
        "data": str(arguments.data),
        "model": arguments.model,
        "steps": arguments.steps,
        "batch_size": arguments.batch_size,
        "size": arguments.size,
    }
    file = arguments.out
    results = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    for seed in seeds:
        for recipe in recipes:
            wanted = {**kind, "recipe": recipe, "seed": seed}
            if find(results, wanted) is None:
                results.append({**wanted, **measure(wanted, arguments)})
                write_text(file, json.dumps(results, indent=1))
    runs = {
        recipe: [find(results, {**kind, "recipe": recipe, "seed": s}) for s in seeds]
        for recipe in recipes
    }
    print(table(runs))
    draw_comparison(
        {
            Path(recipe).stem: read_metrics(Path(found[0]["run"], METRICS_LOG))
            for recipe, found in runs.items()
        },
        file.with_suffix(".png"),
    )


def find(results: list[dict[str, Any]], wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The result of exactly this run."""
    return next((row for row in results if wanted.items() <= row.items()), None)


def measure(wanted: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Train once, or go on with a run that was stopped, and take the last validation."""
    name = "-".join(
        str(part)
        for part in (
            Path(wanted["data"]).name,
            Path(wanted["model"]).stem,
            wanted["size"] or "own",
            f"{wanted['steps']}x{wanted['batch_size']}",
            Path(wanted["recipe"]).stem,
            wanted["seed"],
        )
    )
    folder = arguments.out.parent / name
    if (folder / LAST_CHECKPOINT).is_file():
        run = train(wanted["data"], out=folder, resume=True)
    else:
        run = train(
            wanted["data"],
            model=wanted["model"],
            recipe=wanted["recipe"],
            out=folder,
            size=wanted["size"],
            steps=wanted["steps"],
            batch_size=wanted["batch_size"],
            seed=wanted["seed"],
            validations=arguments.validations,
            workers=arguments.workers,
        )
    if run.interrupted:
        raise SystemExit(130)
    last = [row for row in read_metrics(folder / METRICS_LOG) if "mask/ap" in row][-1]
    return {"run": str(folder), "seconds": last["seconds"], **{key: last[key] for key in MEASURED}}


def table(runs: dict[str, list[dict[str, Any]]]) -> str:
    """Mean and sample standard deviation over the seeds, one row per recipe."""
    lines = [
        "| recipe | " + " | ".join(key.replace("/ap", " AP") for key in MEASURED) + " | seeds |",
        "|---" * (len(MEASURED) + 2) + "|",
    ]
    for recipe, rows in runs.items():
        cells = []
        for key in MEASURED:
            values = [row[key] or 0.0 for row in rows]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        lines.append(f"| {Path(recipe).stem} | " + " | ".join(cells) + f" | {len(rows)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
