"""The named models: architecture and training schedule of each (spec 6.1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from yolact.config.detection import DetectionConfig
from yolact.config.model import AnchorConfig, ModelConfig
from yolact.config.training import LossConfig, TrainingConfig
from yolact.errors import UsageError

COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich",
    "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote",
    "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book",
    "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip

# COCO numbers its classes from 1 to 90 and leaves ten numbers out.
COCO_CATEGORY_IDS = tuple(
    i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
)

PASCAL_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """Everything a named model stands for."""

    model: ModelConfig
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(steps=800_000))
    detection: DetectionConfig = field(default_factory=DetectionConfig)

    def resized(self, image_size: tuple[int, int]) -> "Recipe":
        """The same recipe for another input size; anchors keep their share of the shorter side.

        Scales of whole pixels are cut to whole pixels, as in the original's 400 and 700 px models.
        """
        factor = min(image_size) / min(self.model.image_size)
        scales = tuple(
            tuple(
                float(int(scale * factor)) if float(scale).is_integer() else scale * factor
                for scale in level
            )
            for level in self.model.anchors.scales
        )
        anchors = replace(self.model.anchors, scales=scales)
        return replace(self, model=replace(self.model, image_size=image_size, anchors=anchors))


def yolact_base(class_names: tuple[str, ...] = COCO_CLASSES) -> Recipe:
    """YOLACT-550 with ResNet-101, the paper's main model."""
    anchors = AnchorConfig(square=True)
    return Recipe(ModelConfig(class_names=class_names, backbone="resnet101", anchors=anchors))


def yolact_resnet50(class_names: tuple[str, ...] = COCO_CLASSES) -> Recipe:
    """YOLACT-550 with ResNet-50."""
    recipe = yolact_base(class_names)
    return replace(recipe, model=replace(recipe.model, backbone="resnet50"))


def yolact_darknet53(class_names: tuple[str, ...] = COCO_CLASSES) -> Recipe:
    """YOLACT-550 with Darknet-53, whose input is only divided by 255."""
    recipe = yolact_base(class_names)
    model = replace(recipe.model, backbone="darknet53", mean=(0.0,) * 3, std=(255.0,) * 3)
    return replace(recipe, model=model)


def yolact_im400(class_names: tuple[str, ...] = COCO_CLASSES) -> Recipe:
    """YOLACT-400 with ResNet-101."""
    return yolact_base(class_names).resized((400, 400))


def yolact_im700(class_names: tuple[str, ...] = COCO_CLASSES) -> Recipe:
    """YOLACT-700 with ResNet-101; masks of up to 300 positives per image are trained."""
    recipe = yolact_base(class_names).resized((700, 700))
    loss = replace(recipe.training.loss, max_mask_positives=300)
    return replace(recipe, training=replace(recipe.training, loss=loss))


def yolact_resnet50_pascal(class_names: tuple[str, ...] = PASCAL_CLASSES) -> Recipe:
    """YOLACT-550 with ResNet-50 for the 20 classes of Pascal VOC: larger anchors, fewer steps."""
    anchors = AnchorConfig(scales=tuple((32.0 * n,) for n in (1, 2, 4, 8, 16)))
    return Recipe(
        ModelConfig(class_names=class_names, backbone="resnet50", anchors=anchors),
        TrainingConfig(steps=120_000, lr_steps=(60 / 120, 100 / 120)),
    )


def yolact_plus_base(class_names: tuple[str, ...] = COCO_CLASSES) -> Recipe:
    """YOLACT++ with ResNet-101: every third block deformable, nine anchors, masks re-scored."""
    anchors = AnchorConfig(
        scales=tuple(
            tuple(24.0 * n * 2 ** (third / 3) for third in range(3)) for n in (1, 2, 4, 8, 16)
        )
    )
    return Recipe(
        ModelConfig(
            class_names=class_names,
            backbone="resnet101",
            deformable_interval=3,
            anchors=anchors,
            mask_rescoring=True,
        )
    )


def yolact_plus_resnet50(class_names: tuple[str, ...] = COCO_CLASSES) -> Recipe:
    """YOLACT++ with ResNet-50, every block of its last three stages deformable."""
    recipe = yolact_plus_base(class_names)
    model = replace(recipe.model, backbone="resnet50", deformable_interval=1)
    return replace(recipe, model=model)


def yolact_nano(class_names: tuple[str, ...] = COCO_CLASSES) -> Recipe:
    """Our small one, for CPUs and for training from nothing: the same architecture, narrower."""
    model = ModelConfig(
        class_names=class_names,
        # A shallow residual network whose blocks start as identities: what the first layers see
        # reaches the coarse levels from the first step on (docs/results.md).
        backbone="resnet10t",
        backbone_widths=(32, 64, 128, 256),
        image_size=(320, 320),
        # Three thirds of an octave per level, three strides wide and more, as in the paper.
        anchors=AnchorConfig(
            scales=tuple((24.0 * n, 30.0 * n, 38.0 * n) for n in (1, 2, 4, 8, 16))
        ),
        fpn_channels=96,
        protonet_channels=64,
        protonet_depth=1,
        head_channels=96,
        head_depth=2,
        num_prototypes=24,
        rectified_prototypes=False,
        block="light",
    )
    training = TrainingConfig(
        epochs=100.0,
        optimizer="adamw",
        learning_rate=4e-3,
        weight_decay=0.05,
        schedule="cosine",
        warmup_steps=100,
        # The recipe "modern", which was best of three on three real data sets (docs/results.md).
        augmentation="jitter",
        copy_paste=0.3,
        mosaic=0.3,
        closing=0.3,
        ema_decay=0.998,
        # Of the paper's values these keep a short training from random weights busy with telling
        # object from background, box from box, before it begins to tell the classes apart.
        loss=LossConfig(
            class_weight=5.0, negatives_per_positive=1, positive_iou=0.4, negative_iou=0.3
        ),
    )
    return Recipe(model, training)


PRESETS: dict[str, Callable[..., Recipe]] = {
    "yolact-nano": yolact_nano,
    "yolact-resnet50": yolact_resnet50,
    "yolact-base": yolact_base,
    "yolact-darknet53": yolact_darknet53,
    "yolact-im400": yolact_im400,
    "yolact-im700": yolact_im700,
    "yolact-resnet50-pascal": yolact_resnet50_pascal,
    "yolact-plus-resnet50": yolact_plus_resnet50,
    "yolact-plus-base": yolact_plus_base,
}


def preset(name: str, class_names: Sequence[str] | None = None) -> Recipe:
    """The recipe called ``name``, for these classes or for those it was published with.

    Raises:
        UsageError: If there is no such preset; the message lists those there are.
    """
    if name not in PRESETS:
        raise UsageError(f"no model is called {name!r}; there are {', '.join(PRESETS)}.")
    return PRESETS[name]() if class_names is None else PRESETS[name](tuple(class_names))
