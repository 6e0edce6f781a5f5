"""What runs a network: the runtime that is asked for, or the fastest of this machine."""

import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.artifacts.record import ExportRecord
from yolact.config.runtime import Precision, PrecisionChoice, RuntimeChoice, check_names
from yolact.errors import UsageError, installed_with
from yolact.inference.reference import ReferenceRuntime
from yolact.model.yolact import Yolact
from yolact.runtimes.base import Runtime
from yolact.runtimes.choose import check_choice, open_graph
from yolact.runtimes.folding import fold_batch_norms, folded_copy
from yolact.runtimes.torch_runtime import TorchRuntime

_WARM_UPS, _RUNS = 3, 5
"""Of each candidate that is timed. CUDA graphs are recorded at the second run."""


def runtime_for(
    network: Yolact,
    metadata: ArtifactMetadata,
    name: RuntimeChoice,
    device: torch.device,
    precision: PrecisionChoice,
) -> Runtime:
    """A network in the runtime called ``name``; ``auto`` is torch. A conversion is said on stderr.

    Args:
        network: In evaluation mode. It is used up: torch folds its batch norms, and others read it
            once.
        metadata: Of the model.
        name: Of the runtime.
        device: Where to run.
        precision: Of the arithmetic; ``auto`` is float32.

    Raises:
        UsageError: If the runtime is not installed, or cannot do this.
    """
    chosen: Precision = "float32" if precision == "auto" else precision
    if name == "auto" or name == "torch":
        return TorchRuntime(fold_batch_norms(network), device, precision=chosen)
    check_choice(name, "float32", device, chosen)  # before time goes into a conversion
    started = time.monotonic()
    graph, record = _graph(network, metadata)
    runtime = open_graph(name, graph, record, device, chosen)
    say(f"converted in {time.monotonic() - started:.0f} s for {runtime.description}.")
    return runtime


def optimized(
    runtime: Runtime, metadata: ArtifactMetadata, name: RuntimeChoice, precision: Precision
) -> Runtime:
    """Another runtime for the network of ``runtime``; see :meth:`Predictor.optimize`."""
    check_names(name, precision)
    if not isinstance(runtime, TorchRuntime | ReferenceRuntime) or runtime.precision != "float32":
        raise UsageError(
            f"only a float32 network in torch can be optimized, not {runtime.description}: load the "
            "run or the artifact it was made from."
        )
    if name == "reference":
        raise UsageError("the runtime reference is the plain one: load it with runtime=reference.")
    network, device = runtime.network, runtime.device
    if name == "auto" and device.type == "cpu":
        return _fastest_on_cpu(network, metadata, precision)
    if name in ("auto", "torch"):
        return _fastest_torch(network, device, precision)
    return runtime_for(network, metadata, name, device, precision)


def _fastest_on_cpu(network: Yolact, metadata: ArtifactMetadata, precision: Precision) -> Runtime:
    device = torch.device("cpu")
    graph: tuple[Any, ExportRecord] | None = None
    candidates: list[Runtime] = []
    refusals: list[str] = []
    for name in ("torch", "onnxruntime", "openvino"):
        try:
            if name == "torch":
                candidates.append(TorchRuntime(folded_copy(network), device, precision=precision))
            else:
                graph = graph or _graph(network, metadata)
                candidates.append(open_graph(name, *graph, device, precision))
        except UsageError as error:
            refusals.append(str(error))
    if not candidates:
        raise UsageError(" ".join(refusals))
    seconds = _race(candidates, metadata.model.image_size)
    for refusal in refusals:
        say(f"not tried: {refusal}")
    return _first(candidates, seconds)


def _fastest_torch(network: Yolact, device: torch.device, precision: Precision) -> Runtime:
    """The network with its batch norms folded, and on CUDA compiled if that works and helps."""
    plain = TorchRuntime(folded_copy(network), device, precision=precision)
    if device.type != "cuda":
        return plain
    compiled = TorchRuntime(plain.network, device, precision=precision, compiled=True)
    try:
        seconds = _race([plain, compiled], network.image_size)
    except Exception as error:  # of compilers, drivers and libraries
        say(f"not compiled: {(str(error).strip().splitlines() or [type(error).__name__])[0]}")
        return plain
    return _first([plain, compiled], seconds)


def _first(candidates: Sequence[Runtime], seconds: Sequence[float]) -> Runtime:
    """The fastest; what the others need is said as well."""
    for runtime, needed in zip(candidates, seconds, strict=True):
        say(f"{1000 * needed:.1f} ms a picture, the network alone: {runtime.description}")
    fastest: Runtime = candidates[seconds.index(min(seconds))]
    say(f"taken: {fastest.description}")
    return fastest


def _graph(network: Yolact, metadata: ArtifactMetadata) -> tuple[Any, ExportRecord]:
    """A network as an ONNX graph, and the record that a file of it would have."""
    with installed_with("onnx"):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    from yolact.export.onnx_file import raw_onnx

    scorer = None if network.mask_scorer is None else network.mask_scorer.state_dict()
    record = ExportRecord(metadata, "raw", mask_scorer=scorer)
    return raw_onnx(network, metadata.model.image_size), record


def _race(candidates: Sequence[Runtime], image_size: tuple[int, int]) -> list[float]:
    """Seconds that each needs for one image, the median of several runs in turn."""
    image = torch.rand(1, 3, *image_size, generator=torch.Generator().manual_seed(0))
    seconds: list[list[float]] = [[] for _ in candidates]
    for _ in range(_WARM_UPS + _RUNS):
        for runtime, measured in zip(candidates, seconds, strict=True):
            given = image.to(runtime.device)
            started = time.perf_counter()
            runtime.run(given).prototypes.cpu()  # waits for a GPU
            measured.append(time.perf_counter() - started)
    return [median(measured[_WARM_UPS:]) for measured in seconds]


def say(text: str) -> None:
    """Tell people what is done, on stderr."""
    sys.stderr.write(text + "\n")
