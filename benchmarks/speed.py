"""The tables of docs/speed.md, in Markdown, each made by one ``yolact bench`` command.

    python benchmarks/speed.py --source pictures > speed.md
    python benchmarks/speed.py --nano runs/mine --nano-int8 mine-int8.xml --source pictures
    python benchmarks/speed.py --device cuda

On a CPU: ResNet-50 beside Mask R-CNN, the small model, and both with twenty objects in full HD; every
runtime that is installed. On CUDA: ResNet-101 in eager float32, as ``model.optimize()`` makes it, and
in batches.

Models that are not given have random weights. int8 files that are not given are made of the models,
with ranges from the pictures of ``--source``: that is enough to time them and says nothing of their
accuracy, which ``yolact export --int8`` looks after. Run it while nothing else runs.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from yolact.artifacts.artifact import write_artifact
from yolact.artifacts.record import ExportRecord
from yolact.data.generate import generate_dataset
from yolact.data.images import list_images, read_image
from yolact.export.onnx_file import raw_onnx
from yolact.export.openvino_file import from_onnx, write_openvino
from yolact.export.quantize import quantize
from yolact.inference.load import load, untrained
from yolact.runtimes.torch_runtime import TorchRuntime

CALIBRATION = 32
ON_CPU = (
    *("--device", "cpu", "--runtime", "reference,torch,onnxruntime,openvino"),
    *("--precision", "auto,bf16"),
)


def random_model(name: str, folder: Path) -> Path:
    """An artifact of the model called ``name``, with random weights."""
    model = untrained(name, device="cpu", runtime="reference")
    path = folder / f"{name}.safetensors"
    write_artifact(path, model.runtime.network.state_dict(), model.metadata)
    return path


def int8_file(model: Path, pictures: Sequence[Path], folder: Path) -> Path:
    """An OpenVINO file of a model in int8, for its speed alone."""
    loaded = load(model, device="cpu", runtime="torch")
    assert isinstance(loaded.runtime, TorchRuntime)
    graph = from_onnx(raw_onnx(loaded.runtime.network, loaded.metadata.model.image_size))
    small = quantize(
        graph, pictures, lambda path: loaded.preprocessor([read_image(path)]).contiguous().numpy()
    )
    path = folder / f"{model.stem}-int8.xml"
    write_openvino(small, ExportRecord(loaded.metadata, "raw", precision="int8"), path)
    return path


def on_cpu(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[str, list[object]]]:
    """Titles, and the words after ``yolact bench``."""
    if arguments.source is None:
        generate_dataset(folder / "made", num_train=CALIBRATION, num_val=1, image_size=(480, 640))
        arguments.source = folder / "made" / "images"
    pictures = list_images(arguments.source)[:CALIBRATION]
    resnet50 = arguments.resnet50 or random_model("yolact-resnet50", folder)
    nano = arguments.nano or random_model("yolact-nano", folder)
    resnet50_int8 = arguments.resnet50_int8 or int8_file(resnet50, pictures, folder)
    nano_int8 = arguments.nano_int8 or int8_file(nano, pictures, folder)
    large = (resnet50, resnet50_int8, *ON_CPU, "--repeats", arguments.repeats)
    small = (nano, nano_int8, *ON_CPU, "--repeats", 5 * arguments.repeats)
    picture = ("--source", pictures[0], "--objects")
    rival = ("--against", "maskrcnn-resnet50")
    full_hd = ("--picture-size", "1920x1080", "--objects", 20)
    yield "ResNet-50, 10 objects", [*large, *picture, 10, *rival]
    yield "ResNet-50, 100 objects", [*large, *picture, 100, *rival]
    yield "yolact-nano", [*small, *picture, 10]
    yield "ResNet-50, 20 objects in full HD", [*large, *full_hd]
    yield "yolact-nano, 20 objects in full HD", [*small, *full_hd]


def on_cuda(arguments: argparse.Namespace) -> Iterator[tuple[str, list[object]]]:
    """The same."""
    model = ("yolact-base", "--untrained", "--device", arguments.device)
    often = ("--repeats", 5 * arguments.repeats)
    source = () if arguments.source is None else ("--source", list_images(arguments.source)[0])
    picture = (*source, "--objects", 10)
    full_hd = ("--picture-size", "1920x1080", "--objects", 20)
    kinds = ("--runtime", "reference,torch,optimized", "--precision", "float32,bf16,fp16")
    batches = ("--runtime", "optimized", "--precision", "bf16", "--batch", "1,4,16,32,64")
    rival = ("--against", "maskrcnn-resnet50")
    yield "ResNet-101", [*model, *kinds, *picture, *rival, *often]
    yield "ResNet-101 in batches", [*model, *batches, *picture, *often]
    yield "ResNet-101, 20 objects in full HD", [*model, *kinds, *full_hd, *often]


def main() -> None:
    """Run all commands, and print them with their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resnet50", type=Path, metavar="MODEL", help="default: random weights")
    parser.add_argument("--resnet50-int8", type=Path, metavar="FILE.xml")
    parser.add_argument("--nano", type=Path, metavar="MODEL", help="default: random weights")
    parser.add_argument("--nano-int8", type=Path, metavar="FILE.xml")
    parser.add_argument(
        "--source", type=Path, metavar="DIR", help="pictures; the first is timed (default: made)"
    )
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        gpu = arguments.device.startswith("cuda")
        tables = on_cuda(arguments) if gpu else on_cpu(arguments, Path(name))
        for title, words in tables:
            command = ["bench", *map(str, words), "--markdown"]
            shown = shlex.join(command).replace(f"{name}/", "")
            print(f"### {title}\n\n`yolact {shown}`\n", flush=True)
            done = subprocess.run(
                [sys.executable, "-m", "yolact", *command],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            print(done.stdout.replace(f"{name}/", ""), flush=True)


if __name__ == "__main__":
    main()
