"""Boxes: each function is the standard's operator of its name, in NumPy."""

from __future__ import annotations

import numpy as np

from .registry import operator
from .values import scalar


def _corners(boxes: np.ndarray, center_point_box: int) -> np.ndarray:
    """Return boxes as (y1, x1, y2, x2) with y1 <= y2 and x1 <= x2."""
    if center_point_box:
        x, y, w, h = np.moveaxis(boxes, -1, 0)
        return np.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], -1)
    first, second = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], -1)


def _overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return intersection over union of one box with others."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), -1)
    areas = np.prod(others[:, 2:] - others[:, :2], -1)
    union = np.prod(box[2:] - box[:2]) + areas - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0)


@operator(host=True)
def NonMaxSuppression(
    boxes: np.ndarray, scores: np.ndarray, count: np.ndarray | None = None,
    iou_threshold: np.ndarray | None = None, score_threshold: np.ndarray | None = None,
    *, center_point_box: int = 0,
) -> np.ndarray:
    """Return (image, class, box) of the best boxes that overlap no better one too much."""
    most = 0 if count is None else int(scalar(count))
    limit = 0.0 if iou_threshold is None else float(scalar(iou_threshold))
    corners = _corners(boxes.astype(np.float32), center_point_box)
    chosen: list[tuple[int, int, int]] = []
    for image, one in np.ndindex(*scores.shape[:2]):
        score = scores[image, one]
        order = np.argsort(-score, kind="stable")
        if score_threshold is not None:
            order = order[score[order] > scalar(score_threshold)]
        kept = 0
        while order.size and kept < most:
            best, order = order[0], order[1:]
            chosen.append((image, one, int(best)))
            kept += 1
            order = order[_overlap(corners[image, best], corners[image, order]) <= limit]
    return np.array(chosen, np.int64).reshape(-1, 3)


def _bin_samples(start: float, size: float, bins: int, ratio: int) -> np.ndarray:
    """Return the positions (bins, samples) that are averaged along one axis of a region."""
    count = max(ratio if ratio > 0 else int(np.ceil(size / bins)), 0)
    step = size / bins
    inner = (np.arange(count) + 0.5) / max(count, 1) * step
    return start + np.arange(bins)[:, None] * step + inner


def _linear(position: np.ndarray, size: int) -> tuple[np.ndarray, ...]:
    """Return two neighbours, their weights, and whether the position is near the image at all."""
    near = (position >= -1) & (position <= size)
    clamped = np.clip(position, 0, size - 1)
    left = np.minimum(np.floor(clamped).astype(np.int64), size - 1)
    share = clamped - left
    return left, np.minimum(left + 1, size - 1), 1 - share, share, near


@operator(host=True)
def RoiAlign(
    x: np.ndarray, rois: np.ndarray, batch: np.ndarray,
    *, coordinate_transformation_mode: str | None = None, mode: str = "avg",
    output_height: int = 1, output_width: int = 1, sampling_ratio: int = 0,
    spatial_scale: float = 1.0, opset: int,
) -> np.ndarray:
    """Return each region (x1, y1, x2, y2) of its image, pooled from bilinear samples."""
    kind = coordinate_transformation_mode or ("half_pixel" if opset >= 16 else
                                              "output_half_pixel")
    offset = 0.5 if kind == "half_pixel" else 0.0
    h, w = x.shape[2:]
    y = np.zeros((len(rois), x.shape[1], output_height, output_width), x.dtype)
    for i, (roi, image) in enumerate(zip(rois.astype(np.float64), batch, strict=True)):
        x1, y1, x2, y2 = roi * spatial_scale - offset
        height, width = y2 - y1, x2 - x1
        if not offset:
            height, width = max(height, 1.0), max(width, 1.0)
        rows = _linear(_bin_samples(y1, height, output_height, sampling_ratio), h)
        cols = _linear(_bin_samples(x1, width, output_width, sampling_ratio), w)
        y[i] = _pooled(x[image], rows, cols, mode)
    return y


def _pooled(
    image: np.ndarray, rows: tuple[np.ndarray, ...], cols: tuple[np.ndarray, ...], mode: str
) -> np.ndarray:
    """Return (C, bins, bins) of an image (C, H, W): the mean or maximum of each bin's samples."""
    parts = []
    for r, rw in ((rows[0], rows[2]), (rows[1], rows[3])):
        for c, cw in ((cols[0], cols[2]), (cols[1], cols[3])):
            weight = (rw * rows[4])[:, :, None, None] * (cw * cols[4])
            parts.append(image[:, r[:, :, None, None], c] * weight)
    if 0 in (rows[0].shape[1], cols[0].shape[1]):  # a region without extent has no samples
        return np.zeros((image.shape[0], len(rows[0]), len(cols[0])), image.dtype)
    if mode == "max":  # the standard takes the maximum over weighted corners
        return np.max(parts, axis=0).max((2, 4))
    return np.sum(parts, axis=0).mean((2, 4))
