"""What is compared: products of models, runtimes and precisions, as users list them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

from yolact.config.runtime import PrecisionChoice, RuntimeChoice
from yolact.errors import UsageError
from yolact.inference.load import load, model_file, untrained
from yolact.inference.predictor import Predictor
from yolact.runtimes.base import Runtime


@dataclass(frozen=True)
class Choice:
    """A model and how to run it: all that another process needs to load it, too."""

    model: str
    """As :func:`yolact.inference.load.load` takes it."""
    runtime: RuntimeChoice | Literal["optimized"] = "auto"
    """``optimized`` is what :meth:`yolact.inference.predictor.Predictor.optimize` takes."""
    precision: PrecisionChoice = "auto"
    batch_size: int = 1
    weights: Path | None = None
    device: str = "auto"
    untrained: bool = False
    """Random weights, for a model given by its name."""

    def load(self) -> Predictor:
        """What predicts.

        Raises:
            CheckpointError: If there is no such model, or its file is broken.
            UsageError: If there is no such device, or the runtime cannot do this.
        """
        if self.runtime == "optimized":
            plain = replace(self, runtime="torch", precision="float32").load()
            return plain.optimize(
                precision="float32" if self.precision == "auto" else self.precision
            )
        is_name = model_file(self.model) is None
        if self.untrained and is_name:
            return untrained(
                self.model, device=self.device, runtime=self.runtime, precision=self.precision
            )
        return load(
            self.model,
            weights=self.weights if is_name else None,
            device=self.device,
            runtime=self.runtime,
            precision=self.precision,
        )


@dataclass(frozen=True)
class Loaded:
    """A choice that exists."""

    name: str
    """What tells it from the others: model, runtime, precision and batch, where they differ."""
    choice: Choice
    """With what ``auto`` meant."""
    model: Predictor


def load_all(choices: Iterable[Choice]) -> tuple[list[Loaded], list[str]]:
    """All choices that can be loaded, and a sentence for each reason why others cannot.

    A product of lists has members that do not exist (int8 of a model in float32, fp16 on a CPU):
    they are left out. Those that differ in the number of pictures alone share a model.

    Raises:
        CheckpointError: If a model is missing or broken.
        UsageError: If nothing is left.
    """
    found: dict[Choice, Predictor] = {}
    reasons: dict[Choice, UsageError] = {}
    loaded: dict[Choice, Predictor] = {}
    for choice in choices:
        single = replace(choice, batch_size=1)
        if single not in found and single not in reasons:
            try:
                found[single] = single.load()
            except UsageError as error:
                reasons[single] = error
        if single in found:
            runtime = found[single].runtime
            name = "optimized" if choice.runtime == "optimized" else runtime.name
            # A quantised network keeps what is asked for beside its int8.
            precision = runtime.precision if choice.precision == "auto" else choice.precision
            loaded.setdefault(replace(choice, runtime=name, precision=precision), found[single])
    if not loaded:
        raise next(iter(reasons.values()))
    names = _names(loaded)
    same: dict[str, list[str]] = {}
    for choice, reason in reasons.items():
        same.setdefault(str(reason), []).append(_title(choice))
    left_out = [f"left out: {', '.join(titles)}: {why}" for why, titles in same.items()]
    return [
        Loaded(name, choice, model)
        for name, (choice, model) in zip(names, loaded.items(), strict=True)
    ], left_out


def combinations(
    models: Sequence[str],
    runtimes: Sequence[RuntimeChoice | Literal["optimized"]],
    precisions: Sequence[PrecisionChoice],
    batch_sizes: Sequence[int],
    *,
    like: Choice,
) -> list[Choice]:
    """Each of one list with each of the others, in this order; the rest is that of ``like``."""
    return [
        replace(like, model=model, runtime=runtime, precision=precision, batch_size=batch_size)
        for model, runtime, precision, batch_size in product(
            models, runtimes, precisions, batch_sizes
        )
    ]


def _title(choice: Choice) -> str:
    words = (Path(choice.model).name, choice.runtime, choice.precision)
    return " ".join(word for word in words if word != "auto")


def _names(loaded: Mapping[Choice, Predictor]) -> list[str]:
    """Of every choice what is not the same for all; where all is the same, the model."""
    choices = list(loaded)
    paths = [Path(choice.model) for choice in choices]
    short = [path.stem if path.is_file() else path.name for path in paths]
    if len(set(short)) < len({choice.model for choice in choices}):
        short = [choice.model for choice in choices]
    facets = [
        (name, choice.runtime, _numbers(choice, model.runtime), f"batch {choice.batch_size}")
        for name, (choice, model) in zip(short, loaded.items(), strict=True)
    ]
    telling = [place for place in range(4) if len({facet[place] for facet in facets}) > 1] or [0]
    return [" ".join(facet[place] for place in telling) for facet in facets]


def _numbers(choice: Choice, runtime: Runtime) -> str:
    """Those a network computes in: int8 where it is quantised, and what the rest is in."""
    if choice.precision == runtime.precision:
        return runtime.precision
    return f"{runtime.precision}+{choice.precision}"
