"""Runs every command and code block of README.md and docs/ (Sybil), in a folder made for them.

The folder holds what the texts speak of: a data set called ``data`` (also under the names of the
data sets in docs/results.md), pictures in ``pictures``, and a trained run in ``runs/yolact-nano``.
Commands that take minutes are shortened, and only by the rules below.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

REPOSITORY = Path(__file__).parent
# Tests run in several processes at once (pytest-xdist): each has folders of its own.
DOCS = REPOSITORY / "build" / "docs" / os.environ.get("PYTEST_XDIST_WORKER", "alone")

SHORTENED = (
    (r"--max-time \S+", "--max-time 00:00:04 --validations 1 --workers 0 --snapshots 0"),
    (r"--resume --epochs \S+", "--resume --steps 3 --validations 1 --workers 0"),
    (r"--epochs \S+", "--steps 2 --validations 1 --workers 0 --snapshots 0"),
    (r"--steps \d+ --validations \d+$", "--steps 2 --validations 1 --workers 0"),
    (r"^yolact demo$", "yolact demo --max-time 00:00:04"),
    (r"^make (\w+)$", rf"make --silent --dry-run -C {REPOSITORY} \1 > /dev/null"),
    (
        r"^python benchmarks/(\w+)\.py.*$",
        rf"python {REPOSITORY}/benchmarks/\1.py --help > /dev/null",
    ),
    (r"^yolact eval yolact-base", "yolact eval runs/yolact-nano"),
    (r"--runtime reference,\S+ --precision \S+", "--runtime reference,onnxruntime"),
    (
        r"^yolact bench yolact-\w+ (.*--against .*)$",
        r"yolact bench yolact-nano \1 --repeats 1 --objects 1 --against-size 64",
    ),
    (r"^(yolact export .*--check.*)$", r"\1 --candidate-score 0.01"),  # it has learnt little
    (r"^(yolact export .*--int8.*)$", r"\1 --masks raw --max-drop 100"),
    (r"^git clone .*$", "true"),
    (r"^cd yolact$", "true"),
)


def run_shell(example: Example) -> None:
    """Run a block of commands; the first that fails fails the block."""
    script = example.parsed
    for pattern, replacement in SHORTENED:
        script = re.sub(pattern, replacement, script, flags=re.MULTILINE)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"


def check_recipe(example: Example) -> None:
    """A YAML block is a recipe: it must load. It is left in the folder for the commands below it."""
    from yolact.config.presets import preset
    from yolact.config.serialize import load_recipe, with_training_recipe

    document = yaml.safe_load(example.parsed)
    file = Path("recipe.yaml")
    file.write_text(example.parsed)
    if "base" in document:
        load_recipe(str(file), ("thing",))
    else:
        with_training_recipe(preset("yolact-nano"), str(file))


def lay_out_as_coco(data: Path, coco: Path) -> None:
    """The validation pictures once more, as COCO's downloads are unpacked."""
    document = json.loads((data / "annotations" / "instances_val.json").read_text())
    (coco / "annotations").mkdir(parents=True)
    (coco / "annotations" / "instances_val2017.json").write_text(json.dumps(document))
    del document["annotations"]
    (coco / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(document))
    for name in ("val2017", "test2017"):
        (coco / name).symlink_to(Path("..", "data", "images"))


def prepare(namespace: dict[str, object]) -> None:
    """Go to a fresh copy of the folder that the texts speak of."""
    from yolact.data.generate import generate_dataset
    from yolact.training.run import train

    template = DOCS / "template"
    if not template.exists():
        started = DOCS / "unfinished"
        shutil.rmtree(started, ignore_errors=True)
        generate_dataset(started / "data", num_train=24, num_val=12, image_size=(96, 128))
        settings = {"size": 96, "steps": 20, "batch_size": 4, "workers": 0, "validations": 1}
        train(started / "data", out=started / "runs" / "yolact-nano", **settings)
        (started / "pictures").mkdir()
        for picture in sorted((started / "data" / "images").glob("val_*"))[:3]:
            shutil.copy(picture, started / "pictures")
        shutil.copy(picture, started / "street.jpg")
        for name in ("nuclei", "microcontrollers", "breadboard"):
            (started / name).symlink_to("data")
        lay_out_as_coco(started / "data", started / "coco")
        shutil.copy(REPOSITORY / "examples" / "onnx_masks.py", started)
        (started / "configs").symlink_to(REPOSITORY / "configs")
        started.rename(template)
    namespace["came_from"] = Path.cwd()
    folder = DOCS / "run"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder, symlinks=True)
    os.chdir(folder)


def leave(namespace: dict[str, object]) -> None:
    """Go back."""
    os.chdir(str(namespace["came_from"]))


pytest_collect_file = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser(language="bash", evaluator=run_shell),
        CodeBlockParser(language="yaml", evaluator=check_recipe),
        SkipParser(),
    ],
    patterns=["README.md", "docs/*.md"],
    setup=prepare,
    teardown=leave,
).pytest()


@pytest.fixture(scope="session", autouse=True)
def fresh_docs_folder():
    """Documentation is checked against this version of the code, not against an older run."""
    shutil.rmtree(DOCS, ignore_errors=True)
