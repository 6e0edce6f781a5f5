"""Train a model on a data set; writes a run directory."""

import argparse
import ast
import dataclasses
import inspect
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from yolact.cli.common import (
    add_device,
    add_json,
    add_size,
    answer,
    answer_json,
    metrics_table,
    say,
)
from yolact.config.training import TrainingConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options; those of the training itself are the fields of TrainingConfig."""
    parser.add_argument("data", metavar="DATA", type=Path, help="data set with train and val split")
    parser.add_argument(
        "--model",
        metavar="NAME_OR_RECIPE",
        help="a model's name or a YAML recipe (default: yolact-nano, or the model of --weights)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="default: runs/MODEL, or runs/fine-tuned"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument(
        "--weights",
        metavar="MODEL",
        help="fine-tune this run directory, artifact, original .pth or published model; classes may "
        "differ",
    )
    parser.add_argument(
        "--pretrained-backbone",
        action="store_true",
        help="start the backbone from ImageNet weights, fetched once by timm",
    )
    parser.add_argument(
        "--backbone-weights",
        type=Path,
        metavar="FILE",
        help="start the backbone from this file of the original's, as resnet101_reducedfc.pth",
    )
    parser.add_argument(
        "--recipe",
        metavar="NAME_OR_FILE",
        help="a way of training in place of the model's own: original, modern, or a YAML file",
    )
    add_size(parser)
    parser.add_argument(
        "--letterbox",
        action=argparse.BooleanOptionalAction,
        help="pictures keep their aspect inside the network input; else they are stretched to it",
    )
    parser.add_argument("--max-detections", type=int, metavar="N", help="per picture")
    parser.add_argument(
        "--tracker",
        action="extend",
        type=_words,
        metavar="A,B,…",
        help="send the numbers of metrics.jsonl also to tensorboard, wandb (offline unless "
        "WANDB_MODE says otherwise) or mlflow; none stops those of a run being resumed",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="do everything once, leave nothing behind, and say what the run would need",
    )
    add_device(parser)
    parser.add_argument(
        "--devices",
        type=int,
        metavar="N",
        help="training processes on each machine, each with a GPU of its own (default: 1, or those "
        "of torchrun or SLURM)",
    )
    parser.add_argument(
        "--nodes", type=int, metavar="N", help="machines (default: 1, or those of the launcher)"
    )
    add_json(parser)
    settings = parser.add_argument_group(
        "training settings",
        "The defaults are the model's, with --weights those for fine-tuning; "
        "a run being resumed keeps its own.",
    )
    hints, helps = get_type_hints(TrainingConfig), _field_docs(TrainingConfig)
    helps["batch_size"] += " On a GPU, auto takes the largest that fits."
    for field in dataclasses.fields(TrainingConfig):
        if not dataclasses.is_dataclass(hints[field.name]):
            settings.add_argument(
                "--" + field.name.replace("_", "-"),
                dest=field.name,
                default=argparse.SUPPRESS,
                help=helps.get(field.name),
                **(_option(hints[field.name]) | _SPECIAL.get(field.name, {})),
            )


def run(arguments: argparse.Namespace) -> int:
    """Train and print the AP of the result."""
    from yolact.training.processes import is_first_process
    from yolact.training.run import train

    values = vars(arguments)
    settings = {
        f.name: values[f.name] for f in dataclasses.fields(TrainingConfig) if f.name in values
    }
    for name in ("recipe", "max_detections"):
        if values[name] is not None:
            settings[name] = values[name]
    asked = {
        "data": arguments.data,
        "model": arguments.model,
        "out": arguments.out,
        "resume": arguments.resume,
        "weights": arguments.weights,
        "pretrained_backbone": arguments.pretrained_backbone,
        "backbone_weights": arguments.backbone_weights,
        "size": arguments.size,
        "letterbox": arguments.letterbox,
    }
    where = {
        "device": arguments.device,
        "devices": arguments.devices,
        "nodes": arguments.nodes,
        "tracker": arguments.tracker,
    }
    if arguments.dry_run:
        return _dry_run(arguments, {**asked, "settings": settings}, where)
    outcome = train(**asked, **where, **settings)
    if not is_first_process():  # what there is to say, the first one says
        return 130 if outcome.interrupted else 0
    if arguments.json:
        numbers = {} if outcome.metrics is None else outcome.metrics.to_dict()
        answer_json({"run": outcome.folder, "interrupted": outcome.interrupted, **numbers})
    else:
        if outcome.metrics is not None:
            answer(metrics_table(outcome.metrics))
        answer(f"run: {outcome.folder}")
    if outcome.interrupted:
        say(f"interrupted: 'yolact train {arguments.data} --out {outcome.folder} --resume' goes on")
        return 130
    return 0


def _dry_run(arguments: argparse.Namespace, asked: dict[str, Any], where: dict[str, Any]) -> int:
    from yolact.training.dry_run import dry_run
    from yolact.training.processes import is_first_process
    from yolact.training.request import Request

    forecast = dry_run(Request(**asked), **where)
    if not is_first_process():
        return 0
    if arguments.json:
        answer_json(forecast.to_dict())
        return 0
    hours, seconds = divmod(round(forecast.total_seconds), 3600)
    answer(
        f"everything works; nothing was kept\n"
        f"steps         {forecast.steps} of {forecast.batch_size} images\n"
        f"step          {forecast.seconds_per_step:.3g} s, {forecast.images_per_second:.3g} images/s\n"
        f"validation    {forecast.validation_seconds:.3g} s, {forecast.validations} times\n"
        f"whole run     {hours}:{seconds // 60:02}:{seconds % 60:02} hours\n"
        f"memory        {forecast.memory_mib} MiB"
        + (f", of the GPU {forecast.gpu_memory_mib} MiB" if forecast.gpu_memory_mib else "")
        + f"\ndisk          {forecast.disk_mib} MiB"
    )
    return 0


def _field_docs(kind: type) -> dict[str, str]:
    """The string under each field of a dataclass: its documentation, and our help."""
    tree = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for field, below in pairwise(tree.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match below:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    docs[field.target.id] = " ".join(text.replace("``", "").split()).replace(
                        "%", "%%"
                    )
    return docs


def _option(hint: Any) -> dict[str, Any]:
    """How argparse reads a field of this type."""
    kinds = [kind for kind in get_args(hint) if kind is not type(None)] or [hint]
    kind = kinds[0]
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    if get_origin(hint) is tuple:
        return {"type": _fractions if kind is float else _words, "metavar": "A,B,…"}
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    return {"type": kind, "metavar": re.sub("[^A-Z]", "", kind.__name__.upper())[:1] or "X"}


def _fractions(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _count_or_auto(text: str) -> int | str:
    return text if text == "auto" else int(text)


_SPECIAL: dict[str, dict[str, Any]] = {"batch_size": {"type": _count_or_auto, "metavar": "N"}}
