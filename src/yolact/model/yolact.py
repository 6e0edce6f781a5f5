"""The network: wires backbone, FPN, protonet and head. Image tensor in, Predictions out."""

from torch import Tensor, nn

from yolact.model.backbone import Backbone
from yolact.model.fpn import FeaturePyramid
from yolact.model.mask_scorer import MaskScorer
from yolact.model.prediction_head import PredictionHead
from yolact.model.protonet import Protonet
from yolact.structures import Predictions


class Yolact(nn.Module):
    """YOLACT (arXiv 1904.02689). No ground truth, no NMS, no configuration inside."""

    anchors: Tensor
    """(A, 4) cx cy w h as fractions of the input, in the order of the predictions."""
    mask_scorer: MaskScorer | None
    """Of YOLACT++. It judges finished masks, so ``forward`` has no use for it; loss and
    post-processing take it as a function."""
    image_size: tuple[int, int]
    """(height, width) of the input that the anchors are made for."""

    def __init__(
        self,
        backbone: Backbone,
        fpn: FeaturePyramid,
        protonet: Protonet,
        head: PredictionHead,
        semantic_head: nn.Conv2d,
        anchors: Tensor,
        image_size: tuple[int, int],
        mask_scorer: MaskScorer | None = None,
    ) -> None:
        """Take finished parts; ``model.build`` makes them from a configuration."""
        super().__init__()
        self.backbone = backbone
        self.fpn = fpn
        self.protonet = protonet
        self.head = head
        self.semantic_head = semantic_head
        self.mask_scorer = mask_scorer
        self.image_size = image_size
        self.register_buffer("anchors", anchors, persistent=False)

    def forward(self, images: Tensor, *, with_semantics: bool = False) -> Predictions:
        """Predict for normalised RGB images (B, 3, H, W) of the size the anchors are made for.

        Args:
            images: float32, see ``processing.preprocess``.
            with_semantics: Also run the auxiliary semantic head, which only the loss reads.
        """
        levels = self.fpn(self.backbone(images))
        box_offsets, class_logits, coefficients = self.head(levels)
        return Predictions(
            box_offsets=box_offsets,
            class_logits=class_logits,
            coefficients=coefficients,
            prototypes=self.protonet(levels[0]),
            semantic_logits=self.semantic_head(levels[0]) if with_semantics else None,
        )
