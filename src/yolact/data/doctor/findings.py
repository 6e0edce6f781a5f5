"""What the doctor says: one record per problem, and for each kind how grave it is and what helps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "info"]


class Kind(NamedTuple):
    """What all findings of one code have in common."""

    severity: Severity
    """``error``: training would refuse, or labels are wrong. ``warning``: they probably are, or
    objects are lost. ``info``: worth knowing."""
    title: str
    advice: str


KINDS: dict[str, Kind] = {
    # --- Ids and fields
    "unreadable-labels": Kind(
        "error", "labels that cannot be read", "Export them again, or remove them."
    ),
    "bad-field": Kind(
        "error", "missing or impossible values", "Correct the entry; --fix leaves it out."
    ),
    "duplicate-image-id": Kind(
        "error",
        "image ids used twice",
        "Give every image an id of its own. --fix leaves such images out unless they are one file "
        "or have no objects: nobody can tell whose the objects are.",
    ),
    "duplicate-annotation-id": Kind(
        "warning",
        "annotation ids used twice",
        "Number them anew, as --fix does: other tools keep only the last of each.",
    ),
    "duplicate-category-id": Kind(
        "error",
        "category ids used twice",
        "Give every class an id of its own; --fix keeps the first name.",
    ),
    "repeated-file": Kind(
        "error",
        "pictures listed twice",
        "Put all objects of a picture under one image, as --fix does: otherwise each half of the "
        "objects is background for the other.",
    ),
    "unknown-image": Kind(
        "error", "objects of images that do not exist", "Restore the image; --fix drops them."
    ),
    "unknown-category": Kind(
        "error", "objects of classes that do not exist", "Restore the class; --fix drops them."
    ),
    # --- Pictures
    "missing-picture": Kind(
        "error", "pictures that are not there", "Restore the file; --fix drops the image."
    ),
    "unreadable-picture": Kind(
        "error", "pictures that cannot be decoded", "Replace the file; --fix drops the image."
    ),
    "size-mismatch": Kind(
        "error",
        "pictures of another size than their labels",
        "Correct width and height, or the picture. --fix does where the labels fit, and else leaves "
        "the image out.",
    ),
    "exif-rotation": Kind(
        "error",
        "labels made on the unturned picture",
        "Turn the labels, as --fix does: pictures are shown upright, as their EXIF data says.",
    ),
    "exif-undecided": Kind(
        "warning",
        "turned pictures whose size does not tell how they were labelled",
        "Look at the contact sheet. If masks are off, save the pictures without EXIF orientation.",
    ),
    "duplicate-picture": Kind(
        "warning", "pictures that are there twice", "Keep one of them, with all its objects."
    ),
    "near-duplicate-picture": Kind(
        "info", "pictures that look the same", "Frames of one scene belong into one split."
    ),
    "picture-in-two-splits": Kind(
        "error",
        "pictures of more than one split",
        "Keep each in one split, else AP is of pictures seen in training. --fix removes them from "
        "train.",
    ),
    "near-duplicate-across-splits": Kind(
        "warning",
        "pictures that look like one of another split",
        "If they show the same scene, keep them together: 'yolact data split' with --group does.",
    ),
    # --- Geometry
    "no-mask": Kind(
        "error",
        "objects without a mask",
        "YOLACT learns from masks: label them, or remove the objects, as --fix does.",
    ),
    "unreadable-mask": Kind(
        "error",
        "masks that cannot be read",
        "Draw the object again; --fix drops what is no polygon, and objects of which nothing is left.",
    ),
    "empty-mask": Kind("error", "masks without a pixel", "Draw the object again; --fix drops it."),
    "mask-outside": Kind(
        "warning",
        "masks beyond the picture",
        "Clip them, as --fix does, or see if they are shifted.",
    ),
    "bad-box": Kind(
        "error", "boxes that are none", "Compute the box from the mask, as --fix does."
    ),
    "corner-boxes": Kind(
        "error",
        "boxes given by two corners",
        "COCO's bbox is x, y, width, height: convert them, as --fix does.",
    ),
    "wrong-box": Kind(
        "error", "boxes elsewhere than their masks", "Compute the box from the mask, as --fix does."
    ),
    "loose-box": Kind(
        "warning",
        "boxes that do not fit their masks",
        "Compute the box from the mask, as --fix does.",
    ),
    "wrong-area": Kind(
        "warning",
        "areas that are not those of the masks",
        "Compute the area from the mask, as --fix does: it decides what counts as small or large.",
    ),
    "self-crossing": Kind(
        "warning",
        "outlines that cross themselves",
        "Draw the outline again: where it winds twice, the mask has a hole.",
    ),
    "tiny-polygon": Kind(
        "info", "parts that cover no pixel", "Probably a slip of the mouse: remove the part."
    ),
    "duplicate-object": Kind(
        "warning", "objects that are there twice", "Keep one of them, as --fix does."
    ),
    "same-mask-two-classes": Kind(
        "warning", "one mask in two classes", "Decide for one class, and remove the other object."
    ),
    # --- Classes
    "similar-class-names": Kind(
        "warning",
        "class names that differ in case or spaces only",
        "If they mean the same, make them one class.",
    ),
    "classes-differ": Kind(
        "error",
        "splits whose classes are numbered differently",
        "Use the same categories in all splits, as --fix does, by name.",
    ),
    "class-without-objects": Kind(
        "warning", "classes without objects", "Label some, or remove the class."
    ),
    "class-only-in-validation": Kind(
        "warning",
        "classes that cannot be learned",
        "Label some in train: 'yolact data split' shares them out.",
    ),
    "class-not-validated": Kind(
        "info", "classes that validation lacks", "Their AP cannot be measured."
    ),
    "class-imbalance": Kind(
        "info", "classes of very different frequency", "Label more of the rare ones."
    ),
    "mostly-crowds": Kind(
        "warning",
        "crowds nearly everywhere",
        "Set iscrowd to 0 for single objects: crowds are never learned, only excused.",
    ),
    "no-objects": Kind(
        "info",
        "pictures without objects",
        "Fine if nothing is to be seen: they train as background.",
    ),
    # --- Anchors and masks at the network's size
    "low-anchor-recall": Kind(
        "warning",
        "many objects that no anchor matches",
        "Put the fitted scales below into a recipe, or choose another --size.",
    ),
    "no-anchor": Kind(
        "info",
        "objects that no anchor matches",
        "Each still gets its best anchor, and learns more slowly.",
    ),
    "dropped-in-training": Kind(
        "warning",
        "objects too small to be trained",
        "Choose a larger --size, or cut the pictures into tiles.",
    ),
    "lost-at-prototypes": Kind(
        "warning",
        "masks of next to nothing at the prototypes' resolution",
        "Choose a larger --size, or cut the pictures into tiles.",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One problem at one place."""

    code: str
    split: str
    text: str
    """One sentence."""
    file: str | None = None
    """The picture, as the labels call it."""
    image: int | None = None
    """Index in the document's images."""
    annotation: int | None = None
    """Index in the document's annotations."""
    annotation_id: object = None
    other: Path | None = None
    """The picture that it is like."""

    @property
    def kind(self) -> Kind:
        """Severity, title and advice."""
        return KINDS[self.code]

    def to_dict(self) -> dict[str, object]:
        """Plain data; what does not apply is None."""
        return {
            "code": self.code,
            "severity": self.kind.severity,
            "split": self.split,
            "file": self.file,
            "image": self.image,
            "annotation": self.annotation,
            "annotation_id": self.annotation_id,
            "other": None if self.other is None else str(self.other),
            "text": self.text,
            "advice": self.kind.advice,
        }
