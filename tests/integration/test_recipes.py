"""Recipes for training, by real command, with decoded pictures kept for the workers."""

import yaml


def test_flags_win_over_the_recipe_and_the_recipe_over_the_model(
    command, tiny_data, tmp_path, tmp_path_factory, monkeypatch
):
    temporary = tmp_path_factory.mktemp("t")  # short: the path of a socket has a limit
    monkeypatch.setenv("TMPDIR", str(temporary))
    (tmp_path / "mine.yaml").write_text(
        "training: {augmentation: large-scale, mosaic: 0.5, copy_paste: 0.5, steps: 7}\n"
        "detection: {max_detections: 9}\n"
    )
    words = "--recipe mine.yaml --mosaic 0.9 --steps 2 --size 64 --batch-size 4 --workers 1"
    words += " --validations 1 --cache-images --out run"
    done = command("train", tiny_data, *words.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    training = config["training"]
    assert (training["augmentation"], training["copy_paste"]) == ("large-scale", 0.5)
    assert (training["mosaic"], training["steps"], training["epochs"]) == (0.9, 2, None)
    assert training["optimizer"] == "adamw"
    assert config["detection"]["max_detections"] == 9
    assert not list(temporary.glob("yolact-*"))
