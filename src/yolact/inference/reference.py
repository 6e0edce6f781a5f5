"""The model without any tuning: the baseline that everything fast is compared with.

The network runs in torch as it is written, and everything around it is the plain path of the
specification (``processing/reference.py``). The answers are those of every other runtime.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.config.detection import DetectionConfig
from yolact.inference.predictor import Predictor
from yolact.model.yolact import Yolact
from yolact.ops.masks import CroppedMask
from yolact.ops.runs import MaskRuns, pack_mask
from yolact.processing.reference import PlainPreprocessor, detect, make_masks
from yolact.results import Masks, Result
from yolact.runtimes.base import Precision, RuntimeName, check_images
from yolact.structures import Detections, Predictions


class ReferenceRuntime:
    """The network in eager torch, float32, one plane after the other in memory (NCHW)."""

    name: RuntimeName = "reference"
    precision: Precision = "float32"

    def __init__(self, network: Yolact, device: torch.device) -> None:
        """Take a copy of ``network``."""
        self.device = device
        self.network: Yolact = deepcopy(network).to(device)
        self.network.to(memory_format=torch.contiguous_format).eval()

    @property
    def description(self) -> str:
        """See :class:`yolact.runtimes.base.Runtime`."""
        return f"torch {torch.__version__} on {self.device}, float32, untuned"

    @property
    def mask_scorer(self) -> Callable[[Tensor], Tensor] | None:
        """See :class:`yolact.runtimes.base.Runtime`."""
        return self.network.mask_scorer

    def run(self, images: Tensor) -> Predictions:
        """See :class:`yolact.runtimes.base.Runtime`."""
        check_images(images, self.network.image_size)
        with torch.inference_mode():
            predictions: Predictions = self.network(images.contiguous())
        return predictions


class ReferencePredictor(Predictor):
    """What ``--runtime reference`` means: slow, exact and obvious from picture to masks."""

    def __init__(self, network: Yolact, device: torch.device, metadata: ArtifactMetadata) -> None:
        """Take the network and the record of the model."""
        super().__init__(ReferenceRuntime(network, device), metadata)
        self.preprocessor = PlainPreprocessor(metadata.model)

    def postprocess(self, predictions: Predictions, detection: DetectionConfig) -> list[Detections]:
        """See :class:`yolact.inference.predictor.Predictor`."""
        return detect(predictions, self.anchors, detection, self.runtime.mask_scorer)

    def finish(self, detections: Detections, picture: NDArray[np.uint8]) -> Result:
        """See :class:`yolact.inference.predictor.Predictor`; here all masks are made at once."""
        result = super().finish(detections, picture)
        region = self.preprocessor.placement(result.image_size).region
        with torch.inference_mode():
            bitmaps = make_masks(detections, result.image_size, region).cpu().numpy()
        return replace(result, masks=FullMasks(bitmaps))


class FullMasks(Masks):
    """Masks kept as bitmaps of the picture's size."""

    def __init__(self, bitmaps: NDArray[np.bool_]) -> None:
        """Take (N, H, W) bitmaps; they are not copied."""
        self._image_size = (bitmaps.shape[1], bitmaps.shape[2])
        self._bitmaps = bitmaps

    def __len__(self) -> int:
        """Number of objects."""
        return len(self._bitmaps)

    def __getitem__(self, index: int) -> NDArray[np.bool_]:
        """See :class:`yolact.results.Masks`."""
        bitmap: NDArray[np.bool_] = self._bitmaps[index]
        return bitmap

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Masks:
        """See :class:`yolact.results.Masks`."""
        return FullMasks(self._bitmaps[np.asarray(indices, dtype=np.int64)])

    def numpy(self) -> NDArray[np.bool_]:
        """The (N, H, W) bitmaps themselves."""
        return self._bitmaps

    def _finished(self, indices: Sequence[int]) -> list[MaskRuns]:
        return [pack_mask(CroppedMask(0, 0, self._bitmaps[index])) for index in indices]
