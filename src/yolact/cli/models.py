"""Published models and models in files: list, describe, download, import."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yolact.cli.common import add_json, answer, answer_json, say, table_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    listing = verbs.add_parser("list", help="all models that have a name")
    listing.set_defaults(act=_list)

    info = verbs.add_parser("info", help="what a model is made of and where it comes from")
    info.add_argument(
        "model",
        metavar="MODEL",
        help="model name, run directory or model file",
    )
    info.set_defaults(act=_info)

    download = verbs.add_parser("download", help="fetch the weights of published models")
    download.add_argument("names", metavar="NAME", nargs="+", help="see 'yolact models list'")
    download.set_defaults(act=_download)

    importing = verbs.add_parser(
        "import",
        help="turn an original .pth file into an artifact",
        description="Read a checkpoint of the original YOLACT, tell by its keys and shapes which "
        "model it is, and write it as a .safetensors file with a record of what it is. Nothing in "
        "the file is executed.",
    )
    importing.add_argument("file", metavar="FILE.pth", type=Path)
    importing.add_argument(
        "--model", metavar="NAME", help="where several models have these keys and shapes"
    )
    importing.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="in label order: names, or one text file with a name per line",
    )
    importing.add_argument(
        "--out",
        type=Path,
        metavar="FILE.safetensors",
        help="a file that does not exist yet (default: beside FILE.pth)",
    )
    importing.set_defaults(act=_import)

    for verb in (listing, info, download, importing):
        add_json(verb)


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb says."""
    arguments.act(arguments)
    return 0


def _list(arguments: argparse.Namespace) -> None:
    from yolact.artifacts.registry import PUBLISHED
    from yolact.config.presets import PRESETS

    own = [name for name in PRESETS if name not in PUBLISHED]
    models = [_published(name) for name in (*PUBLISHED, *own)]
    if arguments.json:
        answer_json({"models": models})
        return
    rows = [
        (
            model["name"],
            "-" if model["bytes"] is None else f"{model['bytes'] / 1e6:.0f} MB",
            "-" if model["paper_mask_ap"] is None else f"{100 * model['paper_mask_ap']:.1f}",
            "-" if model["paper_fps"] is None else f"{model['paper_fps']:.1f}",
            model["licence"],
            model["remark"] or ("on this machine" if model["cached"] else "on the hub"),
        )
        for model in models
    ]
    answer(table_text(("name", "size", "mask AP*", "fps*", "licence", "weights"), rows))
    answer("* the paper's: COCO test-dev, pictures per second on a Titan Xp; not measured here")


def _published(name: str) -> dict[str, Any]:
    """What is known of a named model without reading any file of it."""
    from yolact.artifacts.download import cached_weights, weights_url
    from yolact.artifacts.registry import PUBLISHED

    model = PUBLISHED.get(name)
    file = None if model is None else model.weights
    path = None if file is None else cached_weights(file)
    return {
        "name": name,
        "bytes": None if file is None else file.size,
        "paper_mask_ap": None if model is None else model.mask_ap,
        "paper_fps": None if model is None else model.fps,
        "licence": "MIT" if model is None else model.licence,
        "url": None if file is None else weights_url(file),
        "cached": path is not None,
        "path": path,
        "remark": "this project's own: train it yourself" if model is None else model.remark,
    }


def _info(arguments: argparse.Namespace) -> None:
    from yolact.artifacts.metadata import ArtifactMetadata
    from yolact.config.presets import preset
    from yolact.inference.load import model_file, read_record
    from yolact.model.build import build_skeleton

    if (path := model_file(arguments.model)) is not None:
        metadata = read_record(path)
    else:
        recipe = preset(arguments.model)
        metadata = ArtifactMetadata(
            recipe.model, recipe.detection, provenance=_published(arguments.model)
        )
    network = build_skeleton(metadata.model)
    document = {
        "model": arguments.model,
        "backbone": metadata.model.backbone,
        "input_size": list(metadata.model.image_size),
        "letterbox": metadata.model.letterbox,
        "anchors": len(network.anchors),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "classes": list(metadata.model.class_names),
        "provenance": metadata.provenance,
    }
    if arguments.json:
        answer_json(document)
        return
    height, width = metadata.model.image_size
    kind = "letterboxed" if metadata.model.letterbox else "stretched"
    lines = {
        "model": arguments.model,
        "backbone": metadata.model.backbone,
        "input": f"{width}x{height} pixels (width x height), pictures {kind}, "
        f"{len(network.anchors)} anchors",
        "parameters": f"{document['parameters']:,}",
        "classes": f"{metadata.model.num_classes}: {', '.join(metadata.model.class_names)}",
        **metadata.provenance,
    }
    for name, value in lines.items():
        if value not in (None, "", {}):
            answer(f"{name.replace('_', ' ')}: {value}")


def _download(arguments: argparse.Namespace) -> None:
    from yolact.artifacts.download import fetch_weights
    from yolact.artifacts.registry import PUBLISHED
    from yolact.errors import UsageError

    for name in arguments.names:
        if name not in PUBLISHED:
            raise UsageError(
                f"no published model is called {name!r}; there are {', '.join(PUBLISHED)}."
            )
    files = {name: str(fetch_weights(PUBLISHED[name], say)) for name in arguments.names}
    if arguments.json:
        answer_json({"files": files})
    else:
        for name, path in files.items():
            answer(f"{name}: {path}")


def _import(arguments: argparse.Namespace) -> None:
    from yolact.artifacts.importing import import_original

    out = arguments.out or arguments.file.with_suffix(".safetensors")
    metadata = import_original(
        arguments.file,
        out,
        model=arguments.model,
        class_names=_class_names(arguments.classes),
        say=say,
    )
    if arguments.json:
        answer_json(
            {
                "out": out,
                "model": metadata.provenance["architecture"],
                "classes": metadata.model.class_names,
                "provenance": metadata.provenance,
            }
        )
    else:
        answer(f"{metadata.provenance['architecture']}: {out}")


def _class_names(words: Sequence[str] | None) -> list[str] | None:
    """Names as typed, or the lines of the one file that was named."""
    from yolact.errors import UsageError

    if words is None or len(words) > 1 or not Path(words[0]).is_file():
        return None if words is None else list(words)
    try:
        lines = Path(words[0]).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{words[0]} is no text file with a class name per line.") from error
    return [line.strip() for line in lines if line.strip()]
