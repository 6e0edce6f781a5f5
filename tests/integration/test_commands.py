"""Every command once, as a user types it: output, files, exit codes, and what a mistake says."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import yolact


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_help_is_light(command):
    probe = (
        "import sys; from yolact.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'lightning', 'timm', 'cv2', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in ("demo", "predict", "train", "eval", "models", "data"):
        assert f"  {name} " in done.stdout


def test_every_public_name_can_be_imported():
    assert all(getattr(yolact, name) is not None for name in yolact.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        yolact.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "commands:"),
        (("fly",), 2, "no command 'fly'"),
        (("predict",), 2, "required: MODEL, SOURCE"),
        (("predict", "nowhere", "{image}"), 3, "there is no model nowhere"),
        (("predict", "yolact-nano", "{image}"), 3, "needs weights"),
        (("predict", "yolact-base", "{image}"), 3, "could not be fetched"),
        (("models",), 2, "required: VERB"),
        (("models", "info", "yolact-huge"), 2, "no model is called 'yolact-huge'"),
        (("models", "import", "nothing.pth"), 3, "there is no file nothing.pth"),
        (("models", "import", "x.pth", "--out", "x.zip"), 2, "must end in .safetensors"),
        (("predict", "{run}", "nothing.jpg"), 3, "nothing.jpg is no picture"),
        (("predict", "{run}", "{image}", "--save", "gif"), 2, "cannot save 'gif'"),
        (("predict", "{run}", "{image}", "--score", "7"), 2, "score must lie in [0, 1]"),
        (("predict", "{run}", "{image}", "--device", "warp"), 2, "no device 'warp'"),
        (("eval", "{run}"), 2, "name the data"),
        (("eval", "{run}", "nowhere"), 3, "no data folder nowhere"),
        (("predict", "{run}", "{image}", "--classes", "ring,unicorn"), 2, "no class 'unicorn'"),
        (("predict", "{run}", "{image}", "--crop", "soft"), 2, "give one above 0"),
        (("eval", "{run}", "{data}", "--out", "x"), 2, "--out is where --save coco writes"),
        (("eval", "--predictions", "x", "{data}", "--nms", "fast"), 2, "only --max-detections"),
        (("train", "nowhere"), 3, "no data folder nowhere"),
        (("train", "{data}", "--model", "yolact-huge"), 2, "no model is called 'yolact-huge'"),
        (("train", "{data}", "--recipe", "modrn"), 2, "no training recipe is called 'modrn'"),
        (("train", "{data}", "--recipe", "gone.yaml"), 2, "there is no recipe file gone.yaml"),
        (("train", "{data}", "--mosaic", "7"), 2, "mosaic must lie in [0, 1], not 7.0"),
        (("train", "{data}", "--batch-size", "0"), 2, "batch_size must be positive"),
        (("train", "{data}", "--max-time", "soon"), 2, "HH:MM:SS"),
        (("data", "generate", "{data}"), 2, "not an empty folder"),
        (("data", "generate", "x", "--size", "big"), 2, "like 320x240"),
    ],
)  # fmt: skip
def test_mistakes_get_one_sentence(quick_command, tiny_run, tiny_data, tmp_path, words, code, said):
    image = tiny_data / "images" / "val_00000.jpg"
    words = [w.format(run=tiny_run, data=tiny_data, image=image) for w in words]
    done = quick_command(*words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_predict_writes_everything_and_survives_a_broken_picture(
    command, tiny_run, tiny_data, tmp_path
):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("val_00000.jpg", "val_00001.jpg", "val_00002.jpg"):
        shutil.copy(tiny_data / "images" / name, pictures)
    (pictures / "broken.jpg").write_bytes((pictures / "val_00000.jpg").read_bytes()[:500])
    out = tmp_path / "out"
    done = command(
        "predict", tiny_run, pictures, "--out", out, "--score", 0,
        "--save", "overlay,json,coco,masks,crops", "--max-detections", 5, "--batch", 2, "--json",
    )  # fmt: skip
    assert done.returncode == 1
    assert "skipped:" in done.stderr
    assert "broken.jpg" in done.stderr
    document = json.loads(done.stdout)
    assert [failure["path"] for failure in document["failures"]] == [str(pictures / "broken.jpg")]
    assert len(document["results"]) == 3

    for result in document["results"]:
        name = result["path"].rsplit("/", 1)[1].removesuffix(".jpg")
        assert 0 < len(result["objects"]) <= 5
        assert picture(out / "overlay" / f"{name}.png").shape == (96, 128, 3)
        assert json.loads((out / "json" / f"{name}.json").read_text()) == result
        masks = sorted((out / "masks" / name).iterdir())
        assert len(masks) == len(result["objects"])
        assert set(np.unique(picture(masks[0]))) <= {0, 255}
    entries = json.loads((out / "coco_results.json").read_text())
    assert {entry["category_id"] for entry in entries} <= {3, 5, 9, 10, 14, 21, 22, 40, 51, 77}
    images = json.loads((out / "coco_images.json").read_text())
    assert [image["id"] for image in images] == [1, 2, 3]


def test_python_and_command_give_the_same(command, tiny_run, tiny_data, tmp_path):
    image = tiny_data / "images" / "val_00003.jpg"
    done = command("predict", tiny_run, image, "--out", tmp_path, "--score", 0.01, "--json")
    (printed,) = json.loads(done.stdout)["results"]
    model = yolact.load(tiny_run)
    result = model(str(image), score=0.01)
    assert result.to_dict() == printed
    with Image.open(image) as opened:
        as_list = model([str(image), opened, picture(image)], score=0.01)
    assert [len(one) for one in as_list] == [len(result)] * 3
    np.testing.assert_array_equal(as_list[1].boxes, result.boxes)


def test_saved_results_score_the_same(command, tiny_run, tiny_data, tmp_path):
    results = tmp_path / "results.json"
    first = command("eval", tiny_run, tiny_data, "--save", results, "--json")
    assert first.returncode == 0, first.stderr
    again = command("eval", "--predictions", results, tiny_data, "--json")
    assert again.returncode == 0, again.stderr
    first, again = json.loads(first.stdout), json.loads(again.stdout)
    for kind in ("mask", "box"):
        for name, value in first[kind].items():
            assert again[kind][name] == pytest.approx(value, abs=1e-6)
    assert first["cost"]["images_per_second"] > 0
    assert first["cost"]["peak_memory_mib"] > 0


def test_choices_of_detection_on_the_command_line(command, tiny_run, tiny_data, tmp_path):
    image = tiny_data / "images" / "val_00003.jpg"
    done = command(
        "predict", tiny_run, image, "--out", tmp_path, "--save", "json", "--score", 0, "--json",
        "--classes", "ring, rope", "--nms", "greedy", "--nms-iou", 0.7, "--max-detections", 6,
        "--candidate-score", 0.01, "--crop", "soft", "--crop-margin", 0.2,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (printed,) = json.loads(done.stdout)["results"]
    result = yolact.load(tiny_run)(
        str(image), score=0, classes=["ring", "rope"], nms="greedy", iou_threshold=0.7,
        max_detections=6, score_threshold=0.01, crop="soft", crop_margin=0.2,
    )  # fmt: skip
    assert result.to_dict() == printed
    assert {thing["name"] for thing in printed["objects"]} <= {"ring", "rope"}
    assert len(printed["objects"]) == 6


def test_evaluating_some_classes(command, tiny_run, tiny_data):
    done = command(
        "eval", tiny_run, tiny_data, "--classes", "ring,rope", "--nms", "greedy", "--json"
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    metrics = yolact.evaluate(
        yolact.load(tiny_run), tiny_data, classes=["ring", "rope"], nms="greedy"
    )
    assert list(printed["per_class"]) == list(metrics.per_class) == ["ring", "rope"]
    assert printed["mask"]["ap"] == pytest.approx(metrics.mask.ap)


@pytest.fixture
def coco_folder(tiny_data, tmp_path):
    """Generated pictures, laid out and named like COCO's own downloads."""
    folder = tmp_path / "coco"
    (folder / "annotations").mkdir(parents=True)
    for name in ("train2017", "val2017", "test2017"):
        (folder / name).symlink_to(tiny_data / "images")
    document = json.loads((tiny_data / "annotations" / "instances_val.json").read_text())
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(document))
    del document["annotations"]
    (folder / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(document))
    return folder


def test_coco_as_downloaded(command, tiny_run, coco_folder, tiny_data, tmp_path):
    out = tmp_path / "server"
    words = ("--split", "val2017", "--save", "coco", "--out", out, "--json")
    done = command("eval", tiny_run, coco_folder, *words)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    metrics = yolact.evaluate(yolact.load(tiny_run), tiny_data)
    assert printed["num_images"] == 12  # of which one is empty
    assert printed["mask"]["ap"] == pytest.approx(metrics.mask.ap)
    assert printed["box"]["ap"] == pytest.approx(metrics.box.ap)

    results = out / "detections_val2017_tiny-masks_results.json"
    again = command("eval", "--predictions", results, coco_folder, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["mask"]["ap"] == pytest.approx(metrics.mask.ap, abs=1e-6)


def test_results_for_the_test_server_need_no_labels(command, tiny_run, coco_folder, tmp_path):
    out = tmp_path / "server"
    words = ("eval", tiny_run, coco_folder, "--split", "test-dev")
    refused = command(*words)
    assert refused.returncode == 2
    assert "has no labels to compare with; --save coco" in refused.stderr
    done = command(*words, "--save", "coco", "--out", out, "--max-detections", 5)
    assert done.returncode == 0, done.stderr
    assert "has no labels, so there is no AP" in done.stderr
    assert "AP50" not in done.stdout
    assert "images per second" in done.stdout
    masks, boxes = (
        json.loads((out / f"detections_test-dev2017_tiny-{shape}_results.json").read_text())
        for shape in ("masks", "boxes")
    )
    assert {path.name for path in out.iterdir()} == {
        f"detections_test-dev2017_tiny-{shape}_results.json" for shape in ("masks", "boxes")
    }
    assert len(masks) == len(boxes) > 12
    assert set(masks[0]) == {"image_id", "category_id", "segmentation", "score"}
    assert set(boxes[0]) == {"image_id", "category_id", "bbox", "score"}
    assert masks[0]["segmentation"]["size"] == [96, 128]
    assert {entry["image_id"] for entry in masks} <= set(range(1, 13))


def test_a_model_of_other_classes_is_refused(command, tiny_run, coco_folder):
    path = coco_folder / "annotations" / "instances_val2017.json"
    document = json.loads(path.read_text())
    for category in document["categories"]:
        category["name"] += "!"
    path.write_text(json.dumps(document))
    done = command("eval", tiny_run, coco_folder)
    assert done.returncode == 3
    assert "not one class is the same" in done.stderr


def test_eval_with_explicit_files_prints_a_table(command, tiny_run, tiny_data):
    done = command(
        "eval", tiny_run, "--images", tiny_data / "images",
        "--annotations", tiny_data / "annotations" / "instances_val.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "AP50" in done.stdout
    assert "mask: rope" in done.stdout


def test_generate_prints_where_it_wrote(command, tmp_path):
    done = command(
        "data", "generate", tmp_path / "new", "--train", 2, "--val", 1, "--size", "96x80"
    )
    assert done.returncode == 0, done.stderr
    assert picture(tmp_path / "new" / "images" / "train_00001.jpg").shape == (80, 96, 3)
