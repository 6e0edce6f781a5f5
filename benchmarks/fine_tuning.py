"""Fine-tuning against random weights: the same network, pictures and number of steps.

    python benchmarks/fine_tuning.py microcontrollers --weights runs/shapes --steps 1000 --size 224

Each run has its own schedule, as ``yolact train`` gives it to anybody. AP by step is printed as a
Markdown table; ``comparison.png`` in the output folder shows both losses and both APs.
"""

import argparse
from pathlib import Path

from yolact.artifacts.run_directory import METRICS_LOG, read_metrics
from yolact.training.run import train
from yolact.visualization.curves import draw_comparison


def main() -> None:
    """Train twice, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="data set with train and val split")
    parser.add_argument("--weights", type=Path, required=True, help="run directory or artifact")
    parser.add_argument("--model", default="yolact-nano", help="what the weights are of")
    parser.add_argument("--recipe", help="of training, a name or a YAML file")
    parser.add_argument("--size", type=int, help="side of the network input, pixels")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--validations", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/fine-tuning"))
    arguments = parser.parse_args()

    events = {}
    for name, weights in (("from weights", arguments.weights), ("from random", None)):
        run = train(
            arguments.data,
            model=arguments.model,
            recipe=arguments.recipe,
            weights=weights,
            out=arguments.out / name.replace(" ", "-"),
            size=arguments.size,
            steps=arguments.steps,
            validations=arguments.validations,
            seed=arguments.seed,
            workers=arguments.workers,
        )
        events[name] = read_metrics(run.folder / METRICS_LOG)
    draw_comparison(events, arguments.out / "comparison.png")
    print(table(events))


def table(events: dict[str, list[dict[str, float | None]]]) -> str:
    """AP and AP50 of the masks by step, a column pair for each run."""
    measured = {
        name: {row["step"]: row for row in rows if "mask/ap" in row}
        for name, rows in events.items()
    }
    columns = [(name, key) for name in measured for key in ("mask/ap", "mask/ap50")]
    head = [f"{name}: {key.replace('/ap', ' AP')}" for name, key in columns]
    lines = ["| step | " + " | ".join(head) + " |", "|---" * (1 + len(columns)) + "|"]
    for step in sorted(set().union(*measured.values())):
        values = [measured[name].get(step, {}).get(key) for name, key in columns]
        cells = ["-" if value is None else f"{value:.3f}" for value in values]
        lines.append(f"| {step} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
