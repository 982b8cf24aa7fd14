"""Figures: heatmaps over images, grids of images, and training curves.

Shapes: N people, K keypoints, h x w heatmap cells, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from posebench.errors import UsageError
from posebench.files import atomic_write
from posebench.skeleton import Skeleton
from posebench.structures import PosePredictions, Trace
from posebench.viz.colours import RGB
from posebench.viz.draw import draw_paths, draw_poses
from posebench.viz.text import draw_text, text_width

_MOST_PEOPLE = 6  # in an instance figure: three columns, two rows
_LONG_SIDE = 640  # of an instance figure's tiles, pixels
_ALMOST_EMPTY = 0.1  # the highest value below which a heatmap can hardly be seen
_SHORT = 30  # points of a curve that is not smoothed
_FAR = 30  # a loss term this many times smaller than the largest is drawn enlarged

Curve: TypeAlias = Sequence[tuple[float, float]]  # (time, value)


def heatmap_overlay(image: RGB, heatmap: Tensor, to_image: Tensor, stride: int) -> RGB:
    """Draw a heatmap over the dimmed image, from dark purple (low) to yellow (1).

    Cell (row i, column j) is centred on network-input pixel
    (stride * j + stride / 2, stride * i + stride / 2), which `to_image` maps to the image.

    Args:
        image: (H, W, 3) uint8 RGB, not modified.
        heatmap: (h, w) in [0, 1].
        to_image: (2, 3) affine from network-input pixels to image pixels.
        stride: network-input pixels per cell.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: the heatmap or the affine map has another shape.

    Source: CID (Wang & Zhang, CVPR 2022), Figs. 3 and 4.
    """
    if heatmap.ndim != 2 or to_image.shape != (2, 3):
        raise ValueError(
            "Expected one heatmap (h, w) and one affine map (2, 3), but found "
            f"{tuple(heatmap.shape)} and {tuple(to_image.shape)}. Choose one image and channel."
        )
    heat = _warp(heatmap, to_image, stride, image.shape)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return _heated(0.5 * image + 0.5 * grey, heat)


def _heated(image: NDArray[np.float64], heat: NDArray[np.float32]) -> RGB:
    """Return the dimmed image (H, W, 3) under the colours of the heat (H, W)."""
    dimmed = 0.55 * image
    colours = 255 * matplotlib.colormaps["inferno"](heat)[..., :3]
    # The square root makes low values visible, while zero stays transparent.
    opacity = 0.85 * np.sqrt(heat)[..., None]
    return np.rint(dimmed + opacity * (colours - dimmed)).astype(np.uint8)


def heat_scale(width: int, height: int) -> RGB:
    """Return a bar (height, width, 3) of an overlay's colours from 0 to 1, over a grey image."""
    heat = np.broadcast_to(np.linspace(0, 1, width, dtype=np.float32), (height, width))
    return _heated(np.full((height, width, 3), 128.0), heat)


def heat_caption(name: str, heatmap: Tensor) -> str:
    """Return a heatmap's name and its highest value, which says why a map looks empty."""
    highest = float(np.nan_to_num(float(heatmap.max()))) if heatmap.numel() else 0.0
    empty = "almost empty, " if highest < _ALMOST_EMPTY else ""
    return f"{name}: {empty}highest {highest:.2f}"


def _warp(
    heatmap: Tensor, to_image: Tensor, stride: int, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return the (H, W) heat at every image pixel, zero outside the network input."""
    cell_to_input = np.array([[stride, 0, stride / 2], [0, stride, stride / 2], [0, 0, 1]])
    affine = to_image.detach().cpu().double().numpy() @ cell_to_input
    cells = np.nan_to_num(heatmap.detach().cpu().float().numpy())
    # Cubic, since linear interpolation shows the cells; it overshoots, hence the clipping.
    warped = cv2.warpAffine(cells, affine, (shape[1], shape[0]), flags=cv2.INTER_CUBIC)
    return np.clip(np.asarray(warped, np.float32), 0, 1)


def instance_figure(
    image: RGB,
    heatmaps: Tensor,
    predictions: PosePredictions,
    skeleton: Skeleton,
    to_image: Tensor,
    stride: int,
) -> RGB:
    """Show each person's heatmaps: one tile per person, at most the first six.

    A tile has the maximum over the person's heatmaps at every pixel and the skeleton read from
    them, in the colour that `draw_poses` gives the person.

    Args:
        image: (H, W, 3) uint8 RGB, not modified.
        heatmaps: (N, K, h, w) in [0, 1], of the people of `predictions`.
        predictions: N people in pixels of the image.
        skeleton: names the K keypoints.
        to_image: (2, 3) affine from network-input pixels to image pixels.
        stride: network-input pixels per cell.

    Returns:
        uint8 RGB; one tile that says so where there are no people.

    Raises:
        ValueError: heatmaps and predictions have different numbers of people.

    Source: CID (Wang & Zhang, CVPR 2022), Fig. 4.
    """
    if len(heatmaps) != len(predictions):
        raise ValueError(
            f"Expected heatmaps of {len(predictions)} people, but found {len(heatmaps)}. "
            "Choose the heatmaps of the people that were kept."
        )
    # Tiles are drawn at their final size, so that line widths are not scaled.
    scale = _LONG_SIDE / max(image.shape[:2])
    tile = _resized(image, scale)
    to_tile = scale * to_image.detach().cpu().double()
    to_tile[:, 2] += (scale - 1) / 2  # pixel centres, as in the resized image
    tiles, captions = [], []
    for i in range(min(len(predictions), _MOST_PEOPLE)):
        person = PosePredictions(
            scale * predictions.keypoints[i : i + 1] + (scale - 1) / 2,
            predictions.keypoint_scores[i : i + 1],
            predictions.scores[i : i + 1],
        )
        heatmap = heatmaps[i].amax(0)
        heat = heatmap_overlay(tile, heatmap, to_tile, stride)
        tiles.append(draw_poses(heat, person, skeleton, colours=[i]))
        score = float(predictions.scores[i])
        captions.append(heat_caption(f"person {i + 1}, score {score:.2f}", heatmap))
    size = (tile.shape[1], tile.shape[0])
    if not tiles:
        return gallery([tile], ["no people found"], columns=1, tile=size)
    heated = range(len(tiles))
    return gallery(tiles, captions, columns=min(3, len(tiles)), tile=size, heated=heated)


def steps_figure(
    image: RGB,
    predictions: PosePredictions,
    trace: Trace,
    skeleton: Skeleton,
    *,
    nobody: str = "no people found",
) -> RGB:
    """Show the decoder's steps for each person of `trace.reliance`: two tiles per person.

    The left tile shows each keypoint's position before the first layer (hollow) and after each
    layer, joined by lines, over the final skeleton. The right tile shows the pixels that the
    person's score relies on.

    Args:
        image: (H, W, 3) uint8 RGB, not modified.
        predictions: the people of the trace, in pixels of the image.
        trace: the steps by which they were refined.
        skeleton: names the K keypoints.
        nobody: the caption of the one tile where there are no people.

    Returns:
        uint8 RGB.

    Source: Group Pose (Liu et al., ICCV 2023), Fig. 6.
    """
    scale = _LONG_SIDE / max(image.shape[:2])
    tile = _resized(image, scale)
    to_tile = scale * trace.to_image.detach().cpu().double()
    to_tile[:, 2] += (scale - 1) / 2  # pixel centres, as in the resized image
    tiles, captions = [], []
    for i, reliance in enumerate(trace.reliance):
        person = PosePredictions(
            scale * predictions.keypoints[i : i + 1] + (scale - 1) / 2,
            predictions.keypoint_scores[i : i + 1],
            predictions.scores[i : i + 1],
        )
        drawn = draw_poses(tile, person, skeleton, colours=[i])
        paths = (scale * trace.steps[i] + (scale - 1) / 2).detach().cpu().double().numpy()
        tiles += [draw_paths(drawn, paths), heatmap_overlay(tile, reliance, to_tile, 1)]
        score = float(predictions.scores[i])
        captions += [f"person {i + 1}: {len(paths)} steps", f"what its score {score:.2f} rests on"]
    size = (tile.shape[1], tile.shape[0])
    if not tiles:
        return gallery([tile], [nobody], columns=1, tile=size)
    return gallery(tiles, captions, columns=2, tile=size, heated=range(1, len(tiles), 2))


def gallery(
    images: Sequence[RGB],
    captions: Sequence[str],
    columns: int,
    tile: tuple[int, int],
    *,
    heated: Collection[int] = (),
) -> RGB:
    """Arrange images in rows on white, each scaled to fit its tile, with its caption below.

    Args:
        images: (H, W, 3) uint8 RGB, of any sizes; at least one.
        captions: one for each image; captions that are too long are shortened. If all are empty,
            tiles have no caption line; if all rows have the same ones, they stand once on top.
        columns: number of tiles in a row, at most.
        tile: width and height of a tile, pixels.
        heated: the indices of the images that are heatmaps; their captions begin with the scale of
            their colours.

    Returns:
        uint8 RGB. With margin m = max(4, width / 40) and a caption of height c it measures
        columns * (width + m) + m by rows * (height + c + m) + m; with captions on top, by
        rows * (height + m) + c + m.

    Raises:
        ValueError: there are no images, or another number of captions.
    """
    if not images or len(images) != len(captions):
        raise ValueError(
            f"Expected at least one image and a caption for each, but found {len(images)} and "
            f"{len(captions)}."
        )
    width, height = tile
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    margin = max(4, width // 40)
    size = max(11, width // 34)  # of the font
    caption_height = 2 * size if any(captions) else 0
    on_top = rows > 1 and all(captions[i % columns] == own for i, own in enumerate(captions))
    header = caption_height if on_top else 0
    pitch_x, pitch_y = width + margin, height + caption_height - header + margin
    page = np.full((header + rows * pitch_y + margin, columns * pitch_x + margin, 3), 255, np.uint8)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(index, columns)
        left, top = margin + column * pitch_x, header + margin + row * pitch_y
        _place(page[top : top + height, left : left + width], image)
        if on_top and row > 0:
            continue
        middle = margin + 0.45 * header if on_top else top + height + 0.55 * caption_height
        centre = (left + (width - 1) / 2, middle)
        if index in heated and caption:
            _draw_scaled_caption(page, caption, centre, size, width)
        else:
            draw_text(page, shortened(caption, width, size), centre, size)
    return page


def _draw_scaled_caption(
    page: RGB, caption: str, centre: tuple[float, float], size: int, width: int
) -> None:
    """Write `0 [bar] 1  caption` in the middle of a line `width` pixels wide, in place."""
    bar = heat_scale(round(min(8 * size, width / 4)), max(1, round(0.75 * size)))
    digit, gap = text_width("0", size), 0.4 * size
    scale = 2 * (digit + gap) + bar.shape[1]
    text = shortened(caption, round(width - scale - 3 * gap), size)
    length = text_width(text, size)
    start = centre[0] - (scale + 3 * gap + length) / 2
    left, top = round(start + digit + gap), round(centre[1] - bar.shape[0] / 2)
    draw_text(page, "0", (start + digit / 2, centre[1]), size)
    page[top : top + bar.shape[0], left : left + bar.shape[1]] = bar
    draw_text(page, "1", (start + scale - digit / 2, centre[1]), size)
    draw_text(page, text, (start + scale + 3 * gap + length / 2, centre[1]), size)


def _place(tile: RGB, image: RGB) -> None:
    """Draw an image into the middle of a tile, as large as fits, in place."""
    scale = min(tile.shape[0] / image.shape[0], tile.shape[1] / image.shape[1])
    fitted = _resized(image, scale)[: tile.shape[0], : tile.shape[1]]
    tile[:] = (242, 242, 244)  # light grey, so that the tile's edges are visible
    top, left = ((tile.shape[axis] - fitted.shape[axis]) // 2 for axis in (0, 1))
    tile[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted


def _resized(image: RGB, scale: float) -> RGB:
    height, width = (max(1, round(scale * side)) for side in image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def shortened(text: str, width: int, size: int) -> str:
    """Return a line that is at most `width` pixels wide, with an ellipsis if it was cut."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def training_curve(
    losses: Mapping[str, Curve], metrics: Mapping[str, Curve], time: str = "epoch"
) -> RGB:
    """Plot loss terms and, below them, metrics such as AP over the same axis.

    Lines are moving averages; the values themselves are drawn faintly behind. Loss terms that are
    far smaller than the largest one are drawn times a power of ten, which the legend names.

    Args:
        losses: name -> (time, value) pairs; a value that is not finite leaves a gap.
        metrics: likewise, in percent; without any there is only the upper panel.
        time: the label of the time axis.

    Returns:
        uint8 RGB, 1200 pixels wide.
    """
    terms = {
        (f"{name} × {factor}" if factor > 1 else name): [(at, factor * v) for at, v in losses[name]]
        for name, factor in _factors(losses).items()
    }
    panels = [("loss", terms)]
    if metrics:
        panels.append((f"{next(iter(metrics))}, %", {n: list(c) for n, c in metrics.items()}))
    # Not pyplot, whose global state keeps figures in memory and may need a display.
    figure = Figure(figsize=(8, 0.6 + 3.1 * len(panels)), dpi=150, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (label, series) in zip(axes, panels, strict=True):
        _plot(axis, label, series)
    # Loss terms may differ by powers of ten; a smaller range is easier to read on a linear axis.
    values = [value for curve in terms.values() for _, value in curve if math.isfinite(value)]
    if values and 0 < 10 * min(values) < max(values):
        axes[0].set_yscale("log")
    axes[-1].set_xlabel(time)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _factors(losses: Mapping[str, Curve]) -> dict[str, int]:
    """Return the power of ten for each term that brings it near the largest, if it is far away."""
    sizes = {
        name: float(np.median([abs(value) for _, value in curve if math.isfinite(value)] or [0.0]))
        for name, curve in losses.items()
    }
    largest = max(sizes.values(), default=0.0)
    return {
        name: 10 ** math.floor(math.log10(largest / size)) if 0 < _FAR * size < largest else 1
        for name, size in sizes.items()
    }


def _plot(axis: Any, label: str, series: Mapping[str, Curve]) -> None:
    colours = matplotlib.color_sequences["tab10"]
    for index, (name, curve) in enumerate(series.items()):
        times, values = np.array(curve, np.float64).reshape(-1, 2).T
        colour = colours[index % len(colours)]
        # A short curve has a marker for every point, since a single point has no line.
        marker = "o" if len(times) <= _SHORT else None
        smooth = values
        if len(times) > _SHORT:
            axis.plot(times, values, color=colour, linewidth=0.8, alpha=0.25)
            smooth = _moving_average(values, len(times) // 20)
        axis.plot(times, smooth, color=colour, label=name, linewidth=1.6, marker=marker, ms=3.5)
    axis.set_ylabel(label)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(color="0.9", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    if series:
        axis.legend(
            frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize=9,
            ncols=min(len(series), 5), borderaxespad=0.2,
        )  # fmt: skip


def _moving_average(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Return the mean of each value and its neighbours up to `reach` away; gaps stay gaps."""
    finite = np.isfinite(values)
    window = np.ones(2 * reach + 1)
    sums = np.convolve(np.where(finite, values, 0.0), window)[reach : -reach or None]
    counts = np.convolve(finite.astype(np.float64), window)[reach : -reach or None]
    return np.where(finite, sums / np.maximum(counts, 1), np.nan)


def write_image(path: Path, image: RGB) -> None:
    """Write a PNG or JPEG file, by its suffix, atomically.

    Args:
        path: its folder is made if it does not exist.
        image: (H, W, 3) uint8 RGB.

    Raises:
        UsageError: the file has another suffix.
        PosebenchError: the folder or the file cannot be written.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UsageError(
            f"Expected an image file that ends in .png, .jpg or .jpeg, but found {path.name!r}: "
            "choose another name."
        )
    # JPEG quality 95: at the default, thin lines get fringes.
    options = [] if path.suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 95]
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(path.suffix.lower(), bgr, options)
    with atomic_write(path) as beside:
        beside.write_bytes(encoded.tobytes())
