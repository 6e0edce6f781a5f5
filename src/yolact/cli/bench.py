"""Time each part of models from the picture to finished masks, also beside Mask R-CNN."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from yolact.cli.common import (
    add_json,
    add_model_use,
    answer,
    answer_json,
    load_split,
    progress_bar,
    table_text,
)

if TYPE_CHECKING:
    from yolact.evaluation.coco import Metrics
    from yolact.inference.mask_rcnn import MaskRcnn
    from yolact.inference.predictor import Predictor
    from yolact.inference.timing import Growth, Timed, Timeline

_RIVALS = ("maskrcnn-resnet50",)
_SHORT_SIDE = 800
_COUNTS = (1, 10, 50, 100)
_USUAL_OBJECTS = 10
"""What models with random weights are made to find: about what a picture of COCO holds."""
_GENERATED_SIZE = (480, 640)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "models",
        metavar="MODEL",
        nargs="+",
        help="run directory, .safetensors or .pth file, or model name",
    )
    parser.add_argument(
        "--source",
        metavar="IMAGE_OR_DIR",
        help="pictures to run on (default: a generated one of 640x480)",
    )
    parser.add_argument(
        "--untrained",
        action="store_true",
        help="random weights for models given by name: speed does not depend on them",
    )
    parser.add_argument("--against", choices=_RIVALS, help="torchvision's Mask R-CNN beside them")
    parser.add_argument(
        "--against-weights",
        type=Path,
        metavar="FILE",
        help="its state dict, trained on COCO (default: random weights; nothing is downloaded)",
    )
    parser.add_argument(
        "--against-size",
        type=_numbers,
        metavar="N,…",
        help=f"shorter side of its input in pixels, one or several (default: {_SHORT_SIDE})",
    )
    parser.add_argument(
        "--objects",
        type=_numbers,
        metavar="N,…",
        help="time it with so many objects in the first picture "
        f"(default with --against: {','.join(map(str, _COUNTS))})",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DATA", help="also measure AP there, by the size of objects"
    )
    parser.add_argument("--split", default="val", help="of DATA (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FILE.png", help="a picture of the timelines")
    add_model_use(parser, batch=False)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print tables or the JSON document."""
    _check(arguments)
    from yolact.inference.load import load, untrained
    from yolact.inference.timing import TimedPredictor, measure_growth, measure_together
    from yolact.reporting.timeline_picture import draw_timelines

    predictors: dict[str, Predictor] = {
        name: untrained(name, device=arguments.device)
        if arguments.untrained
        else load(name, weights=arguments.weights, device=arguments.device)
        for name in arguments.models
    }
    rivals = _rivals(arguments)
    models: list[Timed] = [TimedPredictor(model, name) for name, model in predictors.items()]
    models += rivals
    same = arguments.untrained or (bool(rivals) and arguments.against_weights is None)
    counts = arguments.objects or (_COUNTS if rivals else ())
    with _pictures(arguments.source) as pictures:
        runs = len(models) * arguments.repeats * (len(pictures) + len(counts))
        with progress_bar("timing", runs) as bar:
            timelines = measure_together(
                models,
                pictures,
                repeats=arguments.repeats,
                objects=_USUAL_OBJECTS if same else None,
                on_progress=bar.step,
            )
            growth = (
                measure_growth(
                    models,
                    pictures[0],
                    counts,
                    repeats=arguments.repeats,
                    on_progress=bar.step,
                )
                if counts
                else []
            )
    precision = _precision(predictors, rivals, arguments) if arguments.data else {}
    if arguments.out is not None:
        draw_timelines(timelines, growth, arguments.out)
    if arguments.json:
        answer_json(_document(timelines, growth, precision, arguments))
        return 0
    answer(_stage_table(timelines))
    if growth:
        answer("\n" + _growth_table(growth))
    if precision:
        answer("\n" + _precision_table(precision))
    answer("\n" + _about(timelines, made_equal=same))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what contradicts itself before anything is loaded."""
    from yolact.errors import UsageError

    if arguments.against is None and (arguments.against_weights or arguments.against_size):
        raise UsageError("--against-weights and --against-size are for --against.")
    if arguments.untrained and arguments.weights is not None:
        raise UsageError("--untrained models have no --weights.")
    if arguments.data is not None and arguments.untrained:
        raise UsageError("--data measures AP, for which models must be trained: not --untrained.")
    if arguments.data is not None and arguments.against and arguments.against_weights is None:
        raise UsageError("--data measures AP, for which --against needs --against-weights FILE.")
    if arguments.out is not None and arguments.out.suffix != ".png":
        raise UsageError(f"--out is a picture (.png), not {arguments.out}.")
    if len(set(arguments.models)) < len(arguments.models):
        raise UsageError("name each MODEL once.")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"numbers like 1,10,50 are needed, not {text!r}") from None


@contextmanager
def _pictures(source: str | None) -> Iterator[list[str | Path]]:
    """The pictures of ``--source``, or one that is made for the occasion."""
    from yolact.data.generate import generate_dataset
    from yolact.inference.sources import expand_sources

    if source is not None:
        yield expand_sources([source])
        return
    with TemporaryDirectory() as folder:
        generate_dataset(Path(folder), num_train=1, num_val=1, image_size=_GENERATED_SIZE)
        yield sorted(Path(folder, "images").glob("val_*"))


def _rivals(arguments: argparse.Namespace) -> "list[MaskRcnn]":
    """What ``--against`` names, once for each size of its input."""
    if arguments.against is None:
        return []
    from yolact.inference.load import choose_device
    from yolact.inference.mask_rcnn import MaskRcnn

    device = choose_device(arguments.device)
    return [
        MaskRcnn(device=device, weights=arguments.against_weights, short_side=side)
        for side in arguments.against_size or (_SHORT_SIDE,)
    ]


def _precision(
    predictors: "dict[str, Predictor]", rivals: "Sequence[MaskRcnn]", arguments: argparse.Namespace
) -> "dict[str, Metrics]":
    """AP of every model on DATA, by our one evaluator."""
    from yolact.config.presets import COCO_CLASSES
    from yolact.evaluation.run import evaluate_predictions
    from yolact.inference.evaluate import evaluate_model

    instances = load_split(arguments.data, arguments.split, None, None)
    found = {
        name: evaluate_model(model, model.detection(), instances, batch_size=1)
        for name, model in predictors.items()
    }
    for rival in rivals:
        found[rival.name] = evaluate_predictions(
            rival.detect, COCO_CLASSES, instances, max_detections=100, batch_size=1
        )
    return found


def _stage_table(timelines: "Sequence[Timeline]") -> str:
    by_name = [{stage.name: stage for stage in timeline.stages} for timeline in timelines]
    rows = [
        ("input", *(f"{t.image_size[1]}x{t.image_size[0]}" for t in timelines)),
        ("objects", *(f"{t.num_objects:.1f}" for t in timelines)),
    ]
    for name in _merged([[stage.name for stage in t.stages] for t in timelines]):
        cells = []
        for stages in by_name:
            stage = stages.get(name)
            mark = "*" if stage and stage.per_object else ""
            cells.append(f"{stage.seconds * 1000:.1f}{mark}" if stage else "")
        rows.append((name, *cells))
    rows.append(("total", *(f"{t.seconds * 1000:.1f}" for t in timelines)))
    if len(timelines) > 1:
        rows.append(("ratio", *(f"{ratio:.2f}" for ratio in _ratios(timelines).values())))
    return table_text(("ms a picture, median", *(t.model for t in timelines)), rows)


def _merged(orders: Sequence[Sequence[str]]) -> list[str]:
    """All names; one that the first order lacks comes after its own predecessor."""
    merged: list[str] = []
    for order in orders:
        place = 0
        for name in order:
            if name not in merged:
                merged.insert(place, name)
            place = merged.index(name) + 1
    return merged


def _growth_table(growth: "Sequence[Growth]") -> str:
    counts = sorted({count for one in growth for count in one.objects})
    times = [dict(zip(one.objects, one.seconds, strict=True)) for one in growth]
    rows = [
        (f"{n} objects", *(f"{by[n] * 1000:.1f}" if n in by else "" for by in times))
        for n in counts
    ]
    slopes = [one.seconds_per_object for one in growth]
    rows.append(
        ("each more", *("" if slope is None else f"{slope * 1000:+.3f}" for slope in slopes))
    )
    return table_text(("ms, first picture", *(one.model for one in growth)), rows)


def _precision_table(precision: "dict[str, Metrics]") -> str:
    rows = [
        (
            f"{name}: {kind}",
            *(
                "-" if n is None else f"{n:.3f}"
                for n in (v.ap, v.ap_small, v.ap_medium, v.ap_large)
            ),
        )
        for name, metrics in precision.items()
        for kind, v in (("mask", metrics.mask), ("box", metrics.box))
    ]
    return table_text(("", "AP", "AP S", "AP M", "AP L"), rows)


def _about(timelines: "Sequence[Timeline]", *, made_equal: bool) -> str:
    first = timelines[0]
    lines = [
        f"{first.device}; pictures: {first.num_pictures}, one at a time, {first.num_repeats} runs "
        "of each, models in turn"
    ]
    if any(stage.per_object for timeline in timelines for stage in timeline.stages):
        lines.append("* done again for each box, on features pooled from it")
    if made_equal:
        lines.append(
            "random weights, on which speed does not depend; every model is made to find its "
            f"{_USUAL_OBJECTS} best objects"
        )
    return "\n".join(lines)


def _ratios(timelines: "Sequence[Timeline]") -> dict[str, float]:
    """How many times as long as the first each model takes."""
    return {timeline.model: timeline.seconds / timelines[0].seconds for timeline in timelines}


def _document(
    timelines: "Sequence[Timeline]",
    growth: "Sequence[Growth]",
    precision: "dict[str, Metrics]",
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    return {
        "timelines": [timeline.to_dict() for timeline in timelines],
        "ratios": _ratios(timelines),
        "growth": [one.to_dict() for one in growth],
        "precision": {name: metrics.to_dict() for name, metrics in precision.items()},
        "untrained": arguments.untrained,
        "out": arguments.out,
    }
