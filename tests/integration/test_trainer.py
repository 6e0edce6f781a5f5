"""A run with every kind of step: interrupted anywhere, it ends as if it had never been."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from yolact.artifacts.artifact import read_artifact
from yolact.artifacts.run_directory import read_metrics
from yolact.data.generate import generate_dataset
from yolact.errors import UsageError, YolactError
from yolact.evaluation.coco import AveragePrecision, CocoEvaluator, Metrics
from yolact.training import callbacks, module
from yolact.training import run as run_module
from yolact.training.run import train

RECIPE = """
base: yolact-nano
size: 64
model:
  backbone_widths: [8, 8, 16, 16]
  fpn_channels: 16
  protonet_channels: 16
  head_channels: 16
training: {batch_size: 4, epochs: 1.0, validations: 2, workers: 0, warmup_steps: 2}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "data"
    generate_dataset(folder, num_train=24, num_val=3, image_size=(64, 64), seed=3)
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    path.write_text(RECIPE)
    return str(path)


@pytest.fixture
def fit(data, recipe, tmp_path):
    """Train into a folder of this name; one epoch is six steps."""

    def run(name, **settings):
        return train(data, model=recipe, out=tmp_path / name, device="cpu", **settings)

    return run


def interrupt_after(steps, monkeypatch):
    """A signal while step number ``steps`` is computed."""
    original = module.YolactModule.training_step

    def interrupted(self, *arguments):
        if self.batches_done == steps - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments)

    monkeypatch.setattr(module.YolactModule, "training_step", interrupted)


def checkpoint_of(run):
    return torch.load(run.folder / "last.ckpt", weights_only=True)


def assert_same(one, other, where=""):
    """Equal bit by bit, but for what the clock says."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            if key != "seconds":
                assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}/{i}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def assert_same_runs(one, other):
    before, after = checkpoint_of(one), checkpoint_of(other)
    for part in ("state_dict", "optimizer_states"):
        assert_same(before[part], after[part], part)
    del before["yolact"]["metadata"], after["yolact"]["metadata"]
    assert_same(before["yolact"], after["yolact"], "yolact")
    assert_same(
        read_metrics(one.folder / "metrics.jsonl"), read_metrics(other.folder / "metrics.jsonl")
    )
    assert_same(load_file(one.best), load_file(other.best))


@pytest.mark.parametrize(
    ("settings", "stops"),
    [
        ({"loss": {"max_mask_positives": 3}}, (1, 2, 3, 4, 5)),
        ({"ema_decay": 0.9, "accumulate": 2, "early_stop": 9, "optimizer": "sgd"}, (3, 5)),
        ({"precision": "fp16", "ema_decay": 0.5}, (2,)),
    ],
    ids=["plain", "average and parts", "fp16"],
)
def test_a_run_interrupted_anywhere_ends_with_the_same_bits(fit, settings, stops, monkeypatch):
    monkeypatch.setattr(callbacks, "_ROW_EVERY_STEPS", 2)
    whole = fit("whole", **settings)
    resume = {}
    for stop in stops:
        with monkeypatch.context() as patch:
            interrupt_after(stop, patch)
            parts = fit("parts", **({"resume": True} if resume else settings))
        resume = {"resume": True}
        assert parts.interrupted
        assert checkpoint_of(parts)["yolact"]["batches_done"] == stop
    parts = fit("parts", **resume)
    assert not parts.interrupted
    assert parts.metrics == whole.metrics
    assert_same_runs(whole, parts)


def test_same_seed_same_bits_and_nothing_left_behind(fit):
    before = torch.are_deterministic_algorithms_enabled(), dict(os.environ)
    one = fit("one", deterministic=True)
    assert (torch.are_deterministic_algorithms_enabled(), dict(os.environ)) == before
    assert_same_runs(one, fit("two", deterministic=True))
    other = fit("three", seed=1)
    states = checkpoint_of(one)["state_dict"], checkpoint_of(other)["state_dict"]
    assert not torch.equal(*(state["model.head.boxes.weight"] for state in states))


def test_sigterm_from_outside_saves_and_exits_130(data, recipe, fit, tmp_path):
    whole = fit("whole", epochs=5)
    words = ["train", data, "--model", recipe, "--device", "cpu", "--out", tmp_path / "parts"]
    process = subprocess.Popen(
        [sys.executable, "-m", "yolact", *map(str, words), "--epochs", "5"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    )
    log = tmp_path / "parts" / "metrics.jsonl"
    while process.poll() is None and not (log.is_file() and log.read_text()):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert "--resume' goes on" in said
    parts = fit("parts", resume=True)
    assert_same_runs(whole, parts)
    with pytest.raises(UsageError, match="is finished; more epochs, steps or max_time go on"):
        fit("parts", resume=True)


class TestParts:
    def test_losses_and_gradients_are_those_of_one_big_batch(self, fit, monkeypatch):
        # Frozen batch norm is the same for any number of images.
        seen = []
        original = module.YolactModule._attempt

        def watched(self, *arguments):
            attempt = original(self, *arguments)
            gradients = [p.grad.clone() for p in self.model.parameters() if p.grad is not None]
            seen.append((self.losses, self.gradient_norm, gradients))
            return attempt

        monkeypatch.setattr(module.YolactModule, "_attempt", watched)
        for parts in (1, 2, 4):
            fit(f"in {parts}", accumulate=parts, epochs=1 / 6, freeze_batch_norm=True)
        one, *others = seen
        for other in others:
            assert one[0].keys() == other[0].keys()
            for name, value in one[0].items():
                torch.testing.assert_close(other[0][name], value, rtol=1e-5, atol=1e-6)
            assert other[1] == pytest.approx(one[1], rel=1e-4)
            for a, b in zip(one[2], other[2], strict=True):
                torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-5)

    def test_only_the_images_of_the_faulty_part_are_named(self, fit, monkeypatch, capfd):
        original = module.YolactCriterion.forward
        calls = []

        def poisoned(self, *arguments, **options):
            losses = original(self, *arguments, **options)
            calls.append(1)
            return {k: v * float("nan") for k, v in losses.items()} if len(calls) == 4 else losses

        monkeypatch.setattr(module.YolactCriterion, "forward", poisoned)
        run = fit("run", accumulate=2, epochs=0.5)
        ((step, images),) = checkpoint_of(run)["yolact"]["skipped"]
        assert step == 1
        assert len(images) == 2
        assert f"they held the images {sorted(images)}" in capfd.readouterr().err
        rows = read_metrics(run.folder / "metrics.jsonl")
        assert all(value == value for row in rows for value in row.values() if value is not None)

    def test_too_few_images_at_once_for_batch_norm(self, fit):
        with pytest.raises(UsageError, match="at least two images at once"):
            fit("run", accumulate=4)


class TestMovingAverage:
    def test_it_is_what_is_measured_and_saved(self, fit):
        run = fit("run", ema_decay=0.9, validations=1)
        state = checkpoint_of(run)["state_dict"]
        saved = read_artifact(run.best)[0]
        name = "head.boxes.weight"
        assert torch.equal(saved[name], state[f"average.module.{name}"])
        assert not torch.equal(saved[name], state[f"model.{name}"])
        assert set(saved) == {k.removeprefix("model.") for k in state if k.startswith("model.")}

    def test_it_cannot_be_switched_on_later(self, fit, monkeypatch):
        with monkeypatch.context() as patch:
            interrupt_after(1, patch)
            fit("run", ema_decay=None)
        with pytest.raises(UsageError, match="started with ema_decay None"):
            fit("run", resume=True, ema_decay=0.9)


class TestPrecision:
    def test_fp16_settles_its_scale_without_losing_a_step(self, fit):
        run = fit("run", precision="fp16", epochs=0.5)
        state = checkpoint_of(run)["yolact"]
        assert state["skipped"] == []
        assert state["precision"]["scale"] < 2**16  # the first tries overflowed
        assert state["precision"]["_growth_tracker"] == 3
        assert {value.dtype for value in read_artifact(run.best)[0].values()} == {
            torch.float32,
            torch.int64,
        }

    def test_a_fault_is_no_overflow(self, fit, monkeypatch):
        # A gradient that no scale mends is skipped and named, and the scale is as it was.
        original = module.YolactModule.manual_backward
        scales = []

        def poisoned(self, loss):
            original(self, loss)
            scales.append(self._precision.state_dict()["scale"])
            if self.batches_done == 1:
                self.model.head.boxes.weight.grad[0] = float("nan")

        monkeypatch.setattr(module.YolactModule, "manual_backward", poisoned)
        run = fit("run", precision="fp16", epochs=0.5)
        state = checkpoint_of(run)["yolact"]
        ((step, images),) = state["skipped"]
        assert (step, len(images)) == (1, 4)
        assert 1.0 in scales
        assert state["precision"]["scale"] == scales[-1] > 1
        assert all(value.isfinite().all() for value in checkpoint_of(run)["state_dict"].values())

    def test_bf16_trains_close_to_fp32(self, fit, monkeypatch):
        monkeypatch.setattr(callbacks, "_ROW_EVERY_STEPS", 1)
        totals = []
        for name in ("fp32", "bf16"):
            run = fit(name, precision=name, size=96, epochs=0.5)
            assert checkpoint_of(run)["yolact"]["skipped"] == []
            rows = read_metrics(run.folder / "metrics.jsonl")
            totals.append([row["loss/total"] for row in rows if "loss/total" in row])
        assert totals[1] == pytest.approx(totals[0], rel=0.05)
        assert totals[1] != totals[0]

    def test_bf16_of_the_cpu_needs_more_than_one_cell(self, fit):
        with pytest.raises(UsageError, match="more than 64 pixels"):
            fit("run", precision="bf16")


def test_infinite_activations_leave_no_trace_in_batch_norm(fit, monkeypatch):
    original = module.YolactModule.training_step

    def poisoned(self, batch, index):
        if self.batches_done == 1:
            batch.images[0] = float("inf")
        original(self, batch, index)

    monkeypatch.setattr(module.YolactModule, "training_step", poisoned)
    run = fit("run", epochs=0.5)
    state = checkpoint_of(run)
    assert len(state["yolact"]["skipped"]) == 1
    assert all(value.isfinite().all() for value in state["state_dict"].values())


class TestValidation:
    @pytest.fixture
    def measured(self, monkeypatch):
        """AP by script: the steps of training cannot be told to stop getting better."""

        def script(*values):
            remaining = iter(values)

            def evaluate(*_, **__):
                precision = AveragePrecision(ap=next(remaining))
                evaluator = CocoEvaluator({"images": [], "annotations": [], "categories": []})
                evaluator.compute = lambda: Metrics(precision, precision, {}, 3, 0, 100)
                return evaluator

            monkeypatch.setattr(run_module, "evaluate_model", evaluate)

        return script

    @staticmethod
    def steps(run):
        rows = read_metrics(run.folder / "metrics.jsonl")
        return [row["step"] for row in rows if "mask/ap" in row]

    def test_interval_in_epochs(self, fit, measured):
        measured(0.1, 0.2, 0.3, 0.4, 0.5)
        assert self.steps(fit("run", validate_every=0.25)) == [2, 4, 6]

    def test_interval_longer_than_the_run(self, fit, measured):
        measured(0.1)
        assert self.steps(fit("run", validate_every=7)) == [6]

    def test_early_stop(self, fit, measured, capfd):
        measured(0.1, 0.3, 0.3, 0.2)
        run = fit("run", validations=6, early_stop=2)
        assert self.steps(run) == [1, 2, 3, 4]
        assert not run.interrupted
        assert run.metrics.mask.ap == 0.3
        assert "stopped early, at step 4: 2 validations in a row" in capfd.readouterr().err
        with pytest.raises(UsageError, match="a larger early_stop than 2 goes on"):
            fit("run", resume=True)
        measured(0.25, 0.25)
        longer = fit("run", resume=True, early_stop=9)
        assert self.steps(longer) == [1, 2, 3, 4, 5, 6]
        assert longer.metrics.mask.ap == 0.3

    def test_patience_survives_an_interruption(self, fit, measured, monkeypatch):
        measured(0.3, 0.2, 0.2, 0.2)
        with monkeypatch.context() as patch:
            interrupt_after(2, patch)
            assert fit("run", validations=6, early_stop=2).interrupted
        run = fit("run", resume=True)
        assert self.steps(run) == [1, 2, 3]
        assert run.metrics.mask.ap == 0.3


class TestSwitches:
    def test_compiled_training_leaves_the_same_names(self, fit, monkeypatch):
        compiler, calls = torch.compile, []

        def eager(function):
            calls.append(function)
            return compiler(function, backend="eager")

        monkeypatch.setattr(torch, "compile", eager)
        run, plain = fit("run", compile=True, epochs=1 / 3), fit("plain", epochs=1 / 3)
        assert len(calls) == 1
        assert_same_runs(run, plain)

    def test_a_machine_that_cannot_compile(self, fit, monkeypatch):
        compiler = torch.compile

        def no_compiler(*_):
            raise RuntimeError("there is no g++")

        monkeypatch.setattr(torch, "compile", lambda f: compiler(f, backend=no_compiler))
        with pytest.raises(UsageError, match=r"cannot be compiled .*there is no g\+\+.*leave comp"):
            fit("run", compile=True)

    def test_an_operation_without_a_deterministic_version(self, fit, monkeypatch):
        def random_order(*_, **__):
            torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2), accumulate=False)

        monkeypatch.setattr(module.YolactCriterion, "forward", random_order)
        with pytest.raises(UsageError, match="put_ has no deterministic version on this device"):
            fit("run", deterministic=True)
        assert not torch.are_deterministic_algorithms_enabled()

    def test_too_little_memory(self, fit, monkeypatch):
        def full(*_, **__):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

        monkeypatch.setattr(module.YolactCriterion, "forward", full)
        with pytest.raises(YolactError, match="too little memory: take a smaller batch_size"):
            fit("run")

    def test_what_a_model_does_not_have_cannot_be_frozen(self, fit):
        with pytest.raises(UsageError, match="mask_scorer cannot be frozen: this model has none"):
            fit("run", freeze=("mask_scorer",))
        parts = ("backbone", "fpn", "protonet", "head", "semantic_head")
        with pytest.raises(UsageError, match="every part is frozen"):
            fit("run", freeze=parts)


def test_rows_of_the_log_are_strict_json(fit):
    run = fit("run")
    for line in (run.folder / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
