"""The published models: where their weights lie and what their authors measured. No network here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HubFile:
    """One file on the Hugging Face hub."""

    repository: str
    name: str
    size: int
    """Bytes of the tensors in it (spec 1.14 and 2.3); the file is a little larger."""


@dataclass(frozen=True)
class PublishedModel:
    """What is known of a published model without having it."""

    name: str
    """The preset's."""
    licence: str
    weights: HubFile | None
    """None if its author has not put any on the hub."""
    mask_ap: float | None
    """The paper's, COCO test-dev, in [0, 1] (spec 6.2)."""
    fps: float | None
    """The paper's, pictures per second on a Titan Xp (spec 6.2)."""
    remark: str = ""


def _on_hub(name: str, size: int, mask_ap: float, fps: float) -> PublishedModel:
    # The author's account, one repository for each model (spec 2.3).
    file = HubFile(f"dbolya/{name}", f"{name.replace('-', '_')}_54_800000.pth", size)
    return PublishedModel(name, "MIT", file, mask_ap, fps)


# The files of the first version hold one layer more that nothing uses (spec 2.3).
_UNUSED_LAYER = 4 * (256 * 256 * 3 * 3 + 256)

PUBLISHED: dict[str, PublishedModel] = {
    model.name: model
    for model in (
        _on_hub("yolact-resnet50", 124_872_676 + _UNUSED_LAYER, 0.282, 42.5),
        _on_hub("yolact-darknet53", 191_275_612 + _UNUSED_LAYER, 0.287, 40.0),
        _on_hub("yolact-base", 201_050_492 + _UNUSED_LAYER, 0.298, 33.5),
        _on_hub("yolact-im700", 201_050_492 + _UNUSED_LAYER, 0.312, 23.6),
        _on_hub("yolact-plus-resnet50", 135_278_744, 0.341, 33.5),
        _on_hub("yolact-plus-base", 210_706_776, 0.346, 27.3),
        PublishedModel(
            "yolact-im400", "MIT", None, 0.249, 45.3, "its weights were never published"
        ),
        PublishedModel(
            "yolact-resnet50-pascal",
            "MIT",
            None,
            None,
            None,
            "linked in the original's README (Pascal SBD)",
        ),
    )
}
