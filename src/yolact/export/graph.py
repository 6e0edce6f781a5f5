"""The network as modules of plain tensors, from which every export format is made.

Three pieces: pictures to the network's input, the network, its output to finished masks. Each is
exported alone and they meet at tensors of fixed names, so that the network can be taken out again,
or be replaced by one of another precision.
"""

from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn

from yolact.config.detection import DetectionConfig
from yolact.config.model import ModelConfig
from yolact.model.build import build_anchors
from yolact.model.mask_scorer import MaskScorer
from yolact.model.yolact import Yolact
from yolact.ops.box_coding import decode_boxes
from yolact.ops.masks import assemble_masks, confine_masks, crop_bounds, crop_masks
from yolact.ops.nms import unsuppressed
from yolact.processing.preprocess import bar

PICTURES, SCORE = FINAL_INPUTS = ("pictures", "score")
PICTURE_SIZE = "picture_size"
"""(height, width) int64, which goes around the network."""


def final_outputs(*, has_scorer: bool, full_size: bool) -> tuple[str, ...]:
    """What a graph with finished masks gives, in order; see :class:`Finish`."""
    scores = ("mask_scores",) if has_scorer else ()
    windows = () if full_size else ("windows",)
    return ("picture_index", "boxes", "scores", "labels", *scores, "masks", *windows)


class RawGraph(nn.Module):
    """Normalised images in, what :class:`yolact.structures.Predictions` holds out, as a tuple."""

    def __init__(self, network: Yolact) -> None:
        """Take a copy of ``network``: on the CPU, in evaluation mode, every weight in plain order."""
        super().__init__()
        self.network: Yolact = _plain(network)
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) float32 -> the tensors called ``RAW_OUTPUTS``."""
        found = self.network(images)
        return found.box_offsets, found.class_logits, found.coefficients, found.prototypes


def _plain(module: nn.Module) -> Any:
    """A copy on the CPU whose weights lie in memory as their shapes say."""
    copied: Any = deepcopy(module)
    return copied.to("cpu", memory_format=torch.contiguous_format).requires_grad_(False)


class Preprocess(nn.Module):
    """What :class:`yolact.processing.preprocess.Preprocessor` does, for pictures of one size."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig) -> None:
        """Take size, shape, mean and deviation from the model's configuration."""
        super().__init__()
        self.image_size, self.letterbox = config.image_size, config.letterbox
        self.register_buffer("mean", torch.tensor(config.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(config.std)[:, None, None])
        self.eval()

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """RGB uint8 (B, H, W, 3) -> float32 (B, 3, height, width), and (H, W) as int64 (2,).

        Only the pixels are read that the result is made of.
        """
        size = torch.stack([torch.full((), side) for side in pictures.shape[1:3]])
        bars = _bars(size, self.image_size, self.letterbox)
        (top, bottom, down, in_rows), (left, right, across, in_columns) = (
            _taps(size[axis], self.image_size[axis], bars[axis]) for axis in (0, 1)
        )
        upper, lower = pictures.index_select(1, top), pictures.index_select(1, bottom)
        across, down = across[:, None], down[:, None, None]

        def row(of: Tensor) -> Tensor:
            near, far = of.index_select(2, left).float(), of.index_select(2, right).float()
            return near + (far - near) * across

        above, below = row(upper), row(lower)
        planes = (above + (below - above) * down).permute(0, 3, 1, 2)
        images = (planes - self.mean) / self.std
        if self.letterbox:
            images = images * (in_rows[:, None] & in_columns)
        return images.contiguous(), size


def _bars(
    picture_size: Tensor, image_size: tuple[int, int], letterbox: bool
) -> tuple[Tensor, Tensor]:
    """Rows above and columns left of the picture in the input (:func:`preprocess.fit`)."""
    (height, width), (rows, columns) = picture_size.unbind(), image_size
    if not letterbox:
        return torch.zeros_like(height), torch.zeros_like(width)
    spare = columns * height - rows * width
    left = bar(spare.clamp(min=0), height).clamp(max=(columns - 1) // 2)
    top = bar((-spare).clamp(min=0), width).clamp(max=(rows - 1) // 2)
    return top, left


def _taps(pixels: Tensor, places: int, start: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The two pixels each place lies between, the share of the second, and whether it shows any.

    The picture's ``pixels`` are shown by all ``places`` but the first and the last ``start``.
    """
    span = places - 2 * start
    # In whole numbers, 2 x span of them to a pixel: floats would lose the fraction in large pictures.
    position = (2 * (torch.arange(places) - start) + 1) * pixels - span
    position = torch.minimum(position.clamp(min=0), (pixels - 1) * 2 * span)
    near = position // (2 * span)
    share = (position - near * 2 * span).float() / (2 * span).float()
    place = torch.arange(places)
    return (
        near,
        torch.minimum(near + 1, pixels - 1),
        share,
        (place >= start) & (place < start + span),
    )


class Finish(nn.Module):
    """From the network's raw output to finished masks, for a batch of pictures of one size.

    The same as :func:`yolact.processing.postprocess.postprocess` and the making of a ``Result``, for
    all pictures and classes at once, as no graph can have a loop of any length.
    """

    anchors: Tensor
    wanted: Tensor

    def __init__(
        self,
        model: ModelConfig,
        detection: DetectionConfig,
        mask_scorer: MaskScorer | None = None,
        *,
        full_size: bool = False,
    ) -> None:
        """Take what the masks are made by.

        Args:
            model: The network's configuration.
            detection: Thresholds and choices; any but greedy NMS.
            mask_scorer: Of a model that judges its masks; it is copied.
            full_size: Give masks of the whole picture, not only their windows.
        """
        super().__init__()
        self.model, self.config, self.full_size = model, detection, full_size
        self.register_buffer("anchors", build_anchors(model))
        labels = detection.labels if detection.labels is not None else range(model.num_classes)
        wanted = torch.zeros(model.num_classes, dtype=torch.bool)
        wanted[list(labels)] = True
        self.register_buffer("wanted", wanted)
        self.mask_scorer = None if mask_scorer is None else _plain(mask_scorer)
        self.eval()

    def forward(
        self,
        box_offsets: Tensor,
        class_logits: Tensor,
        coefficients: Tensor,
        prototypes: Tensor,
        picture_size: Tensor,
        score: Tensor,
    ) -> tuple[Tensor, ...]:
        """All that was found in all pictures: by picture, and of each the best first.

        Args:
            box_offsets: (B, A, 4).
            class_logits: (B, A, C + 1).
            coefficients: (B, A, k).
            prototypes: (B, k, h, w).
            picture_size: (height, width) int64 of every picture.
            score: float32 scalar; only detections above it.

        Returns:
            ``picture_index`` (D,) int64; ``boxes`` (D, 4) float32 x1 y1 x2 y2 in pixels; ``scores``
            (D,); ``labels`` (D,) int64; ``mask_scores`` (D,) if masks are judged; ``masks`` (D,
            height, width) uint8, 0 or 1, of the largest window; ``windows`` (D, 4) int64 x y width
            height, of which the mask is the top left part of its ``masks``. In full size ``masks``
            (D, H, W), and no windows.
        """
        image, anchor, probabilities = self._candidates(class_logits, score)
        boxes = decode_boxes(box_offsets[image, anchor], self.anchors[anchor])
        images = torch.arange(class_logits.shape[0])
        candidate, labels, scores = self._suppress(boxes, probabilities, image, images, score)
        ours = image[candidate] == images[:, None]  # (B, D)
        rank = ours.cumsum(dim=1)
        index, kept = (ours & (rank <= self.config.max_detections)).nonzero().unbind(1)
        candidate, labels, scores = candidate[kept], labels[kept], scores[kept]
        boxes, rank = boxes[candidate], rank[index, kept]
        soft = _assemble(prototypes, coefficients[index, anchor[candidate]], index, rank)
        outputs = [index, self._in_picture(boxes, picture_size), scores, labels]
        if self.mask_scorer is not None:
            ious = self.mask_scorer(crop_masks(soft, boxes))
            outputs.append(scores * ious.gather(1, labels[:, None])[:, 0])
        soft, reach = confine_masks(soft, boxes, self.config.crop, self.config.crop_margin)
        masks, windows = self._binarize(soft, reach, picture_size)
        return (*outputs, masks) if self.full_size else (*outputs, masks, windows)

    def _candidates(self, logits: Tensor, score: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Picture, anchor and class probabilities (n, C) of what can become a detection."""
        # What is below ``score`` in every class is not shown, and drops nothing that is.
        least = score.clamp(min=self.config.score_threshold)
        # p > t needs a lead of log(t / (1 - t)) over the background; a softmax of all would cost more.
        lead = logits[..., 1:].amax(dim=-1) - logits[..., 0]
        image, anchor = (lead > least.log() - (1 - least).log() - 1e-3).nonzero().unbind(1)
        probabilities = logits[image, anchor].softmax(dim=1)[:, 1:]
        passed = (probabilities.amax(dim=1) > least).nonzero()[:, 0]
        return image[passed], anchor[passed], probabilities[passed]

    def _suppress(
        self, boxes: Tensor, probabilities: Tensor, image: Tensor, images: Tensor, score: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Candidate, label and score of each detection of all pictures, best first.

        Every picture has its own rows in the one table, in which those of others score -1.
        """
        ours = image == images[:, None]  # (B, n)
        if self.config.nms == "cross-class":
            best, label = probabilities.max(dim=1)
            table = torch.where(ours, best, -1.0)
        else:
            table = torch.where(ours[:, None], probabilities.T, -1.0).flatten(0, 1)  # (B x C, n)
        longest = (table > score).sum(dim=1).amax(dim=0).clamp(max=self.config.candidates_per_class)
        num_ranks = _length(longest, of=table)
        ranked, order = table.topk(num_ranks, dim=1)
        keep = (ranked > score) & unsuppressed(boxes[order], self.config.iou_threshold)
        row, rank = keep.nonzero().unbind(1)
        candidate = order[row, rank]
        if self.config.nms == "cross-class":
            labels = label[candidate]
        else:
            labels = row % self.model.num_classes
        asked = self.wanted[labels].nonzero()[:, 0]
        scores, by_score = ranked[row, rank][asked].sort(descending=True)
        asked = asked[by_score]
        return candidate[asked], labels[asked], scores

    def _in_picture(self, boxes: Tensor, picture_size: Tensor) -> Tensor:
        """Fractions of the input -> pixels of the picture, corners in order, clamped (spec 4.2)."""
        (top, height), (left, width) = self._region(picture_size)
        start, span = torch.stack((left, top)), torch.stack((width, height))
        limits = picture_size.flip(0).float()
        corners = (boxes.reshape(-1, 2, 2) - start) / span * limits
        corners = torch.minimum(corners.clamp(min=0), limits)
        return torch.cat((corners.amin(dim=1), corners.amax(dim=1)), dim=1)

    def _region(self, picture_size: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Start and length of the picture in the input, in fractions of it, down and across."""
        bars = _bars(picture_size, self.model.image_size, self.model.letterbox)
        down, across = (
            (start.float() / side, 1 - 2 * start.float() / side)
            for start, side in zip(bars, self.model.image_size, strict=True)
        )
        return down, across

    def _binarize(self, soft: Tensor, reach: Tensor, picture_size: Tensor) -> tuple[Tensor, Tensor]:
        """Masks (D, height, width) uint8 and their windows, as ``ops.finished_masks`` finds them."""
        height, width = soft.shape[1:]
        left, top, right, bottom = crop_bounds(reach, height, width).nan_to_num().unbind(1)
        down, across = self._region(picture_size)
        if self.full_size:
            left, top = torch.zeros_like(left), torch.zeros_like(top)
            right, bottom = torch.full_like(right, width), torch.full_like(bottom, height)
        y, num_rows = _window(top, bottom, height, picture_size[0], *down)
        x, num_columns = _window(left, right, width, picture_size[1], *across)
        there = (num_rows > 0) & (num_columns > 0)
        num_rows, num_columns = num_rows * there, num_columns * there
        rows = _matrix(y, num_rows, height, picture_size[0], *down)
        columns = _matrix(x, num_columns, width, picture_size[1], *across)
        masks = rows @ soft @ columns.transpose(1, 2) > 0.5
        return masks.to(torch.uint8), torch.stack((x, y, num_columns, num_rows), dim=1)


def _length(number: Tensor, of: Tensor | None = None) -> int:
    """A number that is found while the graph runs, as a size; not above the last side of ``of``."""
    length = cast(int, number.item())  # a symbol while the graph is made
    torch._check(length >= 0)
    if of is not None:
        torch._check(length <= of.shape[-1])
    return length


def _assemble(prototypes: Tensor, coefficients: Tensor, index: Tensor, rank: Tensor) -> Tensor:
    """Soft masks (D, h, w) of detections, of which each is the ``rank``-th of picture ``index``."""
    most = _length(torch.cat((rank, rank.new_ones(1))).amax(dim=0))
    table = prototypes.new_zeros(prototypes.shape[0], most, prototypes.shape[1])
    table = table.index_put((index, rank - 1), coefficients)
    return assemble_masks(prototypes, table)[index, rank - 1]


def _window(
    first: Tensor, last: Tensor, cells: int, pixels: Tensor, start: Tensor, length: Tensor
) -> tuple[Tensor, Tensor]:
    """First pixel and number of pixels, each (D,) int64, that cells from ``first`` to ``last`` touch.

    The picture's ``pixels`` lie on the cells from ``start`` on, over ``length`` of all of them.
    """
    scale = pixels / (length * cells)
    # A cell reaches one cell further than itself when it is spread bilinearly.
    near = (first.floor() - 1 - start * cells) * scale
    far = (last.ceil() + 1 - start * cells) * scale
    near = near.clamp(min=0).floor().long()
    size = torch.minimum(far.ceil().long(), pixels) - near
    return near, (size * (last > first)).clamp(min=0)


def _matrix(
    first: Tensor, size: Tensor, cells: int, pixels: Tensor, start: Tensor, length: Tensor
) -> Tensor:
    """(D, longest, cells): bilinear, half-pixel centres, ``size`` pixels from ``first`` on."""
    longest = _length(torch.cat((size, size.new_ones(1))).amax(dim=0))
    place = torch.arange(longest)
    pixel = first[:, None] + place
    position = (pixel + 0.5) * (length * cells / pixels) + (start * cells - 0.5)
    distance = position.clamp(0, cells - 1)[:, :, None] - torch.arange(cells)
    inside: Tensor = place < size[:, None]
    return (1 - distance.abs()).clamp(min=0) * inside[:, :, None]


class FinalGraph(nn.Module):
    """All three pieces in one, for formats that cannot join them."""

    def __init__(self, preprocess: Preprocess, network: RawGraph, finish: Finish) -> None:
        """Take the pieces."""
        super().__init__()
        self.preprocess, self.network, self.finish = preprocess, network, finish
        self.eval()

    def forward(self, pictures: Tensor, score: Tensor) -> tuple[Tensor, ...]:
        """RGB uint8 (B, H, W, 3) and a float32 scalar -> what :class:`Finish` gives."""
        images, size = self.preprocess(pictures)
        finished: tuple[Tensor, ...] = self.finish(*self.network(images), size, score)
        return finished
