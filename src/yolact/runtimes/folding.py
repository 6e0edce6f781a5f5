"""Batch norm made part of the convolution before it: the same function, with less to do."""

from collections import Counter
from copy import deepcopy

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from yolact.model.deform_conv import DeformableConv
from yolact.model.prediction_head import LevelConv
from yolact.model.yolact import Yolact

_Convolution = nn.Conv2d | DeformableConv


def fold_batch_norms(network: Yolact) -> Yolact:
    """Let every convolution that a batch norm alone reads do its work, in ``network`` itself.

    The parts keep their names and places; where a batch norm was is nothing, or its activation. A
    norm that cannot be followed (in an exotic backbone) and those of one level stay.

    Args:
        network: In evaluation mode; its weights change, its answers do not.
    """
    _fold_traced(network.backbone)
    for module in (*network.fpn.modules(), *network.protonet.modules()):
        if isinstance(module, nn.Sequential):
            _fold_neighbours(module)
    return network


def folded_copy(network: Yolact) -> Yolact:
    """The same network with its batch norms folded; ``network`` stays as it is."""
    return fold_batch_norms(deepcopy(network).eval())


def has_batch_norms(network: nn.Module) -> bool:
    """Whether any are left but those that each level has of its own."""
    own = {
        id(m) for level in network.modules() if isinstance(level, LevelConv) for m in level.norms
    }
    return any(isinstance(m, nn.BatchNorm2d) and id(m) not in own for m in network.modules())


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        leaf = isinstance(m, nn.BatchNorm2d | DeformableConv)  # timm's norms are made of several
        return leaf or super().is_leaf_module(m, module_qualified_name)


def _fold_traced(root: nn.Module) -> None:
    """Follow the tensors through ``root`` to find each convolution with its norm."""
    try:
        graph = _Tracer().trace(root)
    except Exception:  # what no tracer can follow fails in any way, and works as well unfolded
        return
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if (
            not isinstance(before, fx.Node)
            or before.op != "call_module"
            or len(before.users) != 1
            or calls[str(node.target)] != 1
            or calls[str(before.target)] != 1
        ):
            continue
        convolution = root.get_submodule(str(before.target))
        norm = root.get_submodule(str(node.target))
        if (after := _fold(convolution, norm)) is not None:
            _replace(root, str(node.target), after)


def _fold_neighbours(sequence: nn.Sequential) -> None:
    for index in range(1, len(sequence)):
        if (after := _fold(sequence[index - 1], sequence[index])) is not None:
            sequence[index] = after


def _fold(convolution: nn.Module, norm: nn.Module) -> nn.Module | None:
    """Change ``convolution``; what stays in place of ``norm``, or None if they are no such pair."""
    if (
        not isinstance(convolution, _Convolution)
        or not isinstance(norm, nn.BatchNorm2d)
        or norm.running_mean is None
        or norm.running_var is None
    ):
        return None
    with torch.no_grad():
        weight, bias = fuse_conv_bn_weights(
            convolution.weight,
            convolution.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
        )
    convolution.weight, convolution.bias = weight, bias
    activation = getattr(norm, "act", None)  # of timm's norms, which end with one
    return activation if isinstance(activation, nn.Module) else nn.Identity()


def _replace(root: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(root.get_submodule(parent), name, module)
