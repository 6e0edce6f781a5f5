"""A network's convolutions in int8 by NNCF, all but those that are kept in floating point.

Ranges are taken from real pictures: the smallest and the largest value that each activation has in any
of them, symmetric about zero, and per channel for weights. NNCF's correction of biases is left out:
with these ranges it moved the outputs of trained models further away, prototypes above all.
"""

import io
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import NDArray

from yolact.errors import installed_with
from yolact.runtimes.base import RAW_INPUT
from yolact.runtimes.onnx_runtime import import_onnxruntime

Graph = TypeVar("Graph")
"""An ``openvino.Model`` or an ``onnx.ModelProto`` of the network alone."""
Picture = TypeVar("Picture")

_CONVOLUTIONS = {
    *("Convolution", "GroupConvolution", "DeformableConvolution"),  # as OpenVINO calls them
    *("Conv", "DeformConv"),  # as ONNX does
}
_TALKERS = ("nncf", "torch.utils.cpp_extension")


@dataclass(frozen=True)
class Rung:
    """What one step of :func:`ladder` keeps in floating point."""

    kept: str
    """For people."""
    convolutions: frozenset[str]
    """Names of nodes of the graph."""


def ladder(graph: Graph) -> tuple[Rung, ...]:
    """Which convolutions could be kept in floating point: none at first, then ever more.

    What they are is read from the graph alone: a convolution is one of the last if none lies between it
    and an output, the protonet's if it serves one output only, the head's if it does not serve all.

    Raises:
        UsageError: If NNCF is not installed.
    """
    nncf = _nncf()
    with _silent():
        network = nncf.build_graph(graph)
    outputs = network.get_output_nodes()
    back, forth = network.get_previous_nodes, network.get_next_nodes
    served = Counter(name for out in outputs for name in _convolutions([out], back, beyond=True))
    last = _convolutions(outputs, back, beyond=False)
    protonet = {name for name, count in served.items() if count == 1}
    first = _convolutions(network.get_input_nodes(), forth, beyond=False)
    head = {name for name, count in served.items() if count < len(outputs)}
    rungs, kept = [Rung("nothing", frozenset())], frozenset[str]()
    for title, names in (
        ("the first convolution", first),
        ("the first and the last convolutions", last),
        ("the first and the last convolutions, and the protonet", protonet),
        ("the first convolution, the protonet and the head", head),
    ):
        kept |= names
        rungs.append(Rung(title, kept))
    return tuple(rungs)


def quantize(
    graph: Graph,
    pictures: Sequence[Picture],
    read: Callable[[Picture], NDArray[Any]],
    kept: Collection[str] = (),
) -> Graph:
    """A copy of a network that computes in int8 what it can; deformable convolutions stay as they are.

    Args:
        graph: What comes out is of the same kind.
        pictures: Those that ranges are taken from.
        read: A picture -> float32 (1, 3, H, W), the network's input.
        kept: Names of nodes that stay in floating point.

    Raises:
        UsageError: If NNCF is not installed.
    """
    nncf = _nncf()
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    with _silent():
        quantized: Graph = nncf.quantize(
            graph,
            nncf.Dataset(pictures, lambda picture: {RAW_INPUT: read(picture)}),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=len(pictures),
            ignored_scope=nncf.IgnoredScope(names=sorted(kept)),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                disable_bias_correction=True,
            ),
        )
    return quantized


def _convolutions(
    starts: Sequence[Any], neighbours: Callable[[Any], list[Any]], *, beyond: bool
) -> set[str]:
    """Names of the convolutions that a walk through a graph meets; it stops at them, or goes on."""
    met: set[str] = set()
    todo, seen = list(starts), set()
    while todo:
        for node in neighbours(todo.pop()):
            if node.node_id in seen:
                continue
            seen.add(node.node_id)
            is_convolution = node.node_type in _CONVOLUTIONS
            if is_convolution:
                met.add(node.node_name)
            if beyond or not is_convolution:
                todo.append(node)
    return met


def _nncf() -> Any:
    import_onnxruntime()  # NNCF would let it report to its makers
    with installed_with("int8"):
        import nncf

    return nncf


@contextmanager
def _silent() -> Iterator[None]:
    """NNCF's bars and remarks go nowhere, nor does what torch says of compilers that NNCF looks for."""
    loggers = [logging.getLogger(name) for name in _TALKERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
