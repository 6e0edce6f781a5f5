"""The original's ``.pth`` files: all knowledge of their names lives here (spec 2)."""

import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from yolact.errors import CheckpointError

_UNIT = {"0": "conv", "1": "bn"}

# Pattern in the original's names -> our name. FPN layers are stored coarse first there.
_RENAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (  # Darknet; every unit is a convolution (0) and a batch norm (1)
        r"backbone\._preconv\.([01])\.(.*)",
        lambda m: f"backbone.body.stem_conv1.{_UNIT[m[1]]}.{m[2]}",
    ),
    (
        r"backbone\.layers\.(\d)\.0\.([01])\.(.*)",
        lambda m: f"backbone.body.stages_{m[1]}.conv_down.{_UNIT[m[2]]}.{m[3]}",
    ),
    (
        r"backbone\.layers\.(\d)\.([1-9])\.(conv[12])\.([01])\.(.*)",
        lambda m: f"backbone.body.stages_{m[1]}.blocks.{int(m[2]) - 1}.{m[3]}.{_UNIT[m[4]]}.{m[5]}",
    ),
    (r"backbone\.layers\.(\d)\.(.*)", lambda m: f"backbone.body.layer{int(m[1]) + 1}.{m[2]}"),
    (r"backbone\.(conv1|bn1)\.(.*)", r"backbone.body.\1.\2"),
    (r"fpn\.lat_layers\.([0-2])\.(.*)", lambda m: f"fpn.laterals.{2 - int(m[1])}.{m[2]}"),
    (r"fpn\.pred_layers\.([0-2])\.(.*)", lambda m: f"fpn.outputs.{2 - int(m[1])}.{m[2]}"),
    (r"fpn\.downsample_layers\.([01])\.(.*)", r"fpn.downsamples.\1.\2"),
    (r"proto_net\.([024])\.(.*)", lambda m: f"protonet.before.{int(m[1]) // 2}.{m[2]}"),
    (r"proto_net\.8\.(.*)", r"protonet.after.\1"),
    (r"proto_net\.10\.(.*)", r"protonet.project.\1"),
    (r"prediction_layers\.0\.upfeature\.0\.(.*)", r"head.tower.0.conv.\1"),
    (r"prediction_layers\.0\.bbox_layer\.(.*)", r"head.boxes.\1"),
    (r"prediction_layers\.0\.conf_layer\.(.*)", r"head.classes.\1"),
    (r"prediction_layers\.0\.mask_layer\.(.*)", r"head.coefficients.\1"),
    (r"semantic_seg_conv\.(.*)", r"semantic_head.\1"),
    (
        r"maskiou_net\.maskiou_net\.([02468])\.(.*)",
        lambda m: f"mask_scorer.convs.{int(m[1]) // 2}.{m[2]}",
    ),
    (r"maskiou_net\.maskiou_net\.10\.(.*)", r"mask_scorer.project.\1"),
)

# Left-overs that the original deletes too (spec 2.3).
_UNUSED = re.compile(r"backbone\.layer(?!s)|fpn\.downsample_layers\.([2-9]|\d\d)\.")

_PARALLEL = "module."


def read_backbone_weights(path: Path) -> dict[str, Tensor]:
    """Read ImageNet weights that the original starts from, with the names of our backbone.

    These are ``resnet101_reducedfc.pth`` and ``resnet50-19c8e357.pth``, in torchvision's names, and
    ``darknet53.pth`` (spec 1.2, 1.3). What belongs to no backbone, as the classifier, is left out.

    Raises:
        CheckpointError: If the file is missing or broken.
    """
    renamed = {}
    for key, tensor in read_original_state(path).items():
        key = re.sub(r"^layer(\d+)\.", lambda m: f"layers.{int(m[1]) - 1}.", key)
        if name := _rename("backbone." + key):
            renamed[name] = tensor
    return _with_counters(renamed)


def read_original_state(path: Path) -> dict[str, Tensor]:
    """Read a ``.pth`` state dict of the original, with the names it has there.

    Only tensors are unpickled; nothing in the file is executed. Each is read into memory once. The
    prefix that DataParallel writes before every name is taken off.

    Raises:
        CheckpointError: If the file is missing, broken, or holds something else.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises almost anything
        raise CheckpointError(f"{path} is not a readable checkpoint of plain tensors.") from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise CheckpointError(
            f"{path} is not a plain state dict of tensors: save model.state_dict() alone."
        )
    if all(key.startswith(_PARALLEL) for key in state):
        return {key.removeprefix(_PARALLEL): tensor for key, tensor in state.items()}
    return dict(state)


def rename_original_weights(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Give the tensors of an original state dict our names.

    Raises:
        CheckpointError: If a key is neither known nor one of the known left-overs; all are listed.
    """
    renamed, unknown = {}, []
    for key, tensor in state.items():
        if _UNUSED.match(key):
            continue
        name = _rename(key)
        if name is None:
            unknown.append(key)
        else:
            renamed[name] = tensor
    if unknown:
        raise CheckpointError(f"{source} holds unknown keys: {', '.join(unknown)}.")
    return _with_counters(renamed)


def _with_counters(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    # Files of very old PyTorch lack the counters of batch norm (spec 2.2), or have them as vectors of
    # one, which PyTorch itself takes for scalars, too.
    for name in [name for name in weights if name.endswith(".running_var")]:
        counter = name.removesuffix("running_var") + "num_batches_tracked"
        tensor = weights.get(counter, torch.zeros((), dtype=torch.int64))
        weights[counter] = tensor.reshape(()) if tensor.numel() == 1 else tensor
    return weights


def _rename(key: str) -> str | None:
    for pattern, replacement in _RENAMES:
        if match := re.fullmatch(pattern, key):
            return replacement(match) if callable(replacement) else match.expand(replacement)
    return None
