"""Weights of one model as the start of another: other classes, or the backbone alone."""

from collections.abc import Sequence

from torch import Tensor, nn

from yolact.artifacts.artifact import load_weights
from yolact.errors import CheckpointError


def transfer_weights(
    network: nn.Module,
    weights: dict[str, Tensor],
    old_names: Sequence[str],
    new_names: Sequence[str],
    source: str,
) -> list[str]:
    """Load ``weights``, which were trained for other classes, into a new network.

    Where a tensor has rows of its own for each class, those of a class that both have, by name, are
    copied, as are the background's. The rows of other classes stay as they are in ``network``.

    Args:
        network: As ``build_yolact`` made it for ``new_names``.
        weights: A full set, in the names of :class:`Yolact`.
        old_names: Classes of ``weights`` in label order.
        new_names: Classes of ``network`` in label order.
        source: Where the weights come from, for messages.

    Returns:
        Names of the tensors with rows that were not copied; empty if every class was known.

    Raises:
        CheckpointError: If anything but the classes differs; the message names the first tensor.
    """
    own = network.state_dict()
    labels = {name: label for label, name in enumerate(old_names)}
    shared = [(new, labels[name]) for new, name in enumerate(new_names) if name in labels]
    adapted = {}
    for name in _class_tensors(own):
        if name not in weights:
            continue
        background = int(name.startswith("head."))  # its row comes first there (spec 1.8)
        rows = [(i, i) for i in range(background)]
        rows += [(new + background, old + background) for new, old in shared]
        counts = len(new_names) + background, len(old_names) + background
        adapted[name] = _with_rows(own[name], weights[name], rows, *counts)
    load_weights(network, weights | adapted, source)
    return list(adapted) if len(shared) < len(new_names) else []


def load_backbone(network: nn.Module, weights: dict[str, Tensor], source: str) -> list[str]:
    """Load what ``weights`` has for the backbone; the rest stays as it is (spec 1.2, 1.3).

    Returns:
        Names of the backbone's tensors that ``weights`` lacks.

    Raises:
        CheckpointError: If nothing fits, or a tensor has another shape; the message names it.
    """
    own = {name: t for name, t in network.state_dict().items() if name.startswith("backbone.")}
    found = {name: tensor for name, tensor in weights.items() if name in own}
    if not found:
        raise CheckpointError(
            f"nothing in {source} fits this backbone; a whole model is given as weights instead."
        )
    for name, tensor in found.items():
        if tensor.shape != own[name].shape:
            raise CheckpointError(
                f"{source} does not fit this backbone: {name} is {tuple(tensor.shape)}, "
                f"{tuple(own[name].shape)} is needed."
            )
    network.load_state_dict(found, strict=False)
    return [name for name in own if name not in found]


def _class_tensors(own: dict[str, Tensor]) -> list[str]:
    """Weight and bias of each layer with outputs for each class."""
    layers = ("head.classes.", "semantic_head.", "mask_scorer.project.")
    return [name for name in own if name.startswith(layers)]


def _with_rows(
    new: Tensor, old: Tensor, rows: Sequence[tuple[int, int]], num_new: int, num_old: int
) -> Tensor:
    """``new`` with some rows of ``old``: (to, from). Rows repeat for each anchor of a cell."""
    anchors = len(new) // num_new
    if old.shape != (anchors * num_old, *new.shape[1:]):
        return old  # more than the classes differs; the loader says what
    result = new.clone()
    per_anchor = result.view(anchors, num_new, *new.shape[1:])
    for to, source in rows:
        per_anchor[:, to] = old.view(anchors, num_old, *new.shape[1:])[:, source]
    return result
