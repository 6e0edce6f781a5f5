import json

import cv2
import pytest
import torch


def test_beside_mask_rcnn(tiny_run, tiny_data, quick_command, tmp_path):
    from yolact.inference.mask_rcnn import MaskRcnn

    weights = MaskRcnn(device=torch.device("cpu"))._network.state_dict()
    torch.save(weights, tmp_path / "coco.pth")
    words = ["bench", tiny_run, "--source", tiny_data / "images" / "val_00000.jpg"]
    words += ["--against", "maskrcnn-resnet50", "--against-size", 64, "--against-weights"]
    words += ["coco.pth", "--repeats", 1, "--objects", "1,5", "--device", "cpu", "--json"]
    done = quick_command(*words, "--out", "lines.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    ours, theirs = document["timelines"]
    assert [stage["name"] for stage in ours["stages"]] == [
        "read", "preprocess", "backbone", "fpn", "head", "protonet", "detect", "masks",
    ]  # fmt: skip
    assert {stage["name"] for stage in theirs["stages"] if stage["per_object"]} == {
        "pool boxes", "box head", "pool masks", "mask head",
    }  # fmt: skip
    assert (ours["image_size"], theirs["image_size"]) == ([96, 96], [64, 96])
    names = [tiny_run.name, "maskrcnn-resnet50 at 64"]
    assert [line["model"] for line in (ours, theirs)] == names
    assert document["ratios"][names[1]] == pytest.approx(theirs["seconds"] / ours["seconds"])
    faster = document["times_as_fast_as"]
    assert faster[names[0]][names[1]] == pytest.approx(ours["seconds"] / theirs["seconds"])
    assert faster[names[1]][names[1]] == 1
    assert [one["objects"] for one in document["growth"]] == [[1, 5], [1, 5]]
    assert all(isinstance(one["seconds_per_object"], float) for one in document["growth"])
    height, width = cv2.imread(str(tmp_path / "lines.png")).shape[:2]
    assert min(height, width) > 500


def test_one_untrained_model_on_a_generated_picture(quick_command, tmp_path):
    words = ("bench", "yolact-nano", "--untrained", "--repeats", 1, "--device", "cpu")
    done = quick_command(*words, "--out", "line.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert rows["input"] == ["320x320"]
    assert rows["objects"] == ["10.0"]
    assert float(rows["total"][0]) > float(rows["protonet"][0]) > 0
    assert rows["GFLOP"] == ["3.3"]
    assert rows["post-processing"][0].endswith("%")
    assert "random weights" in done.stdout
    assert (tmp_path / "line.png").is_file()


def test_runtimes_and_precisions_beside_each_other(tiny_run, quick_command, tmp_path):
    words = ["bench", tiny_run, "--runtime", "reference,torch", "--precision", "float32,int8"]
    words += ["--objects", 20, "--picture-size", "1920x1080", "--repeats", 2, "--device", "cpu"]
    done = quick_command(*words, "--draw", "--markdown", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    rows = {cells[0]: cells[1:] for cells in (line.strip("| ").split(" | ") for line in table)}
    assert rows["ms, median"] == ["reference", "torch"]
    assert rows["objects"] == ["20.0", "20.0"]
    assert rows["x as fast as reference"][0] == "1.00"
    assert all(0 < float(share.rstrip("%")) < 100 for share in rows["post-processing"])
    assert list(rows).index("total") < list(rows).index("draw")
    for name in ("reference", "torch"):
        assert f"{tiny_run} {name} int8 is left out: " in done.stderr
    assert "every model is made to find its 20 best objects" in done.stdout


def test_everything_is_in_the_document(tiny_run, quick_command, tmp_path):
    words = ["bench", tiny_run, "--batch", 2, "--repeats", 3, "--device", "cpu", "--json"]
    done = quick_command(*words, "--memory", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {"device", "torch", "yolact", "python"} <= set(document["conditions"])
    (line,) = document["timelines"]
    assert (line["runtime"], line["precision"], line["batch_size"]) == ("torch", "float32", 2)
    assert line["description"].startswith("torch ")
    parts = ("backbone", "fpn", "head", "protonet")
    network = sum(stage["seconds"] for stage in line["stages"] if stage["name"] in parts)
    assert line["flops_per_second"] == pytest.approx(line["flops"] / network)
    peak = line["peak"]["flops_per_second"]
    assert line["share_of_peak"] == pytest.approx(line["flops"] / network / peak)
    assert line["peak"]["precision"] == "float32"
    assert line["memory"]["process"] > line["memory"]["model"] > 2**20
    assert line["p95"] >= line["seconds"] > 0
    assert 0 < line["postprocessing"] < 1
    assert document["left_out"] == []


def test_precision_by_size_is_that_of_eval(tiny_run, tiny_data, quick_command, tmp_path):
    done = quick_command(
        "bench", tiny_run, "--data", tiny_data, "--repeats", 1, "--device", "cpu", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    row = next(line.split() for line in done.stdout.splitlines() if ": mask" in line)
    evaluated = quick_command(
        "eval", tiny_run, tiny_data, "--device", "cpu", "--json", cwd=tmp_path
    )
    mask = json.loads(evaluated.stdout)["mask"]
    sizes = (mask[key] for key in ("ap", "ap_small", "ap_medium", "ap_large"))
    assert row[2:] == ["-" if ap is None else f"{ap:.3f}" for ap in sizes]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["yolact-nano"], 3, "yolact-nano needs weights"),
        (["nobody", "--untrained"], 2, "no model is called 'nobody'"),
        (["yolact-nano", "--against", "yolo"], 2, "invalid choice: 'yolo'"),
        (["yolact-nano", "--untrained", "--data", "d"], 2, "not --untrained"),
        (["m", "--against", "maskrcnn-resnet50", "--data", "d"], 2, "needs --against-weights"),
        (["m", "--against-size", "64"], 2, "are for --against"),
        (["yolact-nano", "--untrained", "--weights", "w.pth"], 2, "have no --weights"),
        (["yolact-nano", "--untrained", "--out", "x.html"], 2, "is a picture (.png), not x.html"),
        (["yolact-nano", "--untrained", "--objects", "few"], 2, "numbers like 1,10,50"),
        (["yolact-nano", "yolact-nano", "--untrained"], 2, "each MODEL once"),
        (["m", "--runtime", "torch,tensor"], 2, "'tensor' is none of auto, optimized, reference"),
        (["m", "--precision", "fp8"], 2, "'fp8' is none of auto, float32"),
        (["m", "--batch", "1,0"], 2, "--batch must be at least 1, not 0"),
        (["m", "--source", "x", "--picture-size", "64"], 2, "in place of --source"),
        (["m", "--json", "--markdown"], 2, "not allowed with"),
        (["yolact-nano", "--untrained", "--precision", "int8"], 2, "int8"),
    ],
)
def test_refusals(words, code, said, quick_command, tmp_path):
    done = quick_command("bench", *words, cwd=tmp_path)
    assert done.returncode == code
    assert said in done.stderr.splitlines()[-1]
    assert not done.stdout
