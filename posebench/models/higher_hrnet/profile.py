"""HigherHRNet's profile: pictures of its heatmaps, and its upper bound."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from posebench.layers.heatmaps import cell_poses
from posebench.models.graph import Graph, Named
from posebench.models.higher_hrnet.decoding import HigherHRNetOutputs, resize_maps, resize_tags
from posebench.models.higher_hrnet.model import HigherHRNet
from posebench.models.higher_hrnet.recipes import STRIDE
from posebench.models.higher_hrnet.targets import RADIUS, build_targets
from posebench.models.profile import Profile
from posebench.structures import Batch, Geometry, Heatmaps, PosePredictions, Poses
from posebench.transfer import to_device

BACKGROUND_TAG = -100.0  # of ideal tags, far from every person's
TAG_STEP = 4.0  # between the ideal tags of one person and the next


def heatmaps(
    model: HigherHRNet, outputs: HigherHRNetOutputs, geometry: Geometry
) -> list[tuple[PosePredictions, Heatmaps]]:
    """Return the maximum over all keypoints, and each person's maps weighted by tag similarity."""
    size = (outputs.size[0] // STRIDE, outputs.size[1] // STRIDE)
    heatmaps = resize_maps(model.aggregated(outputs), size).clamp(0, 1)
    tags = resize_tags(model.fine_tags(outputs), size)
    explained = []
    for predictions, maps, image_tags, to_image in zip(
        model.decode(outputs, geometry), heatmaps, tags, geometry.to_image, strict=True
    ):
        people = [
            maps * tag_similarity(image_tags, keypoints, to_image)
            for keypoints in predictions.keypoints
        ]
        shown = torch.stack(people) if people else maps.new_zeros(0, *maps.shape)
        scene = {"keypoints": maps.amax(0)}
        explained.append((predictions, Heatmaps(scene, shown, STRIDE, to_image)))
    return explained


def tag_similarity(tags: Tensor, keypoints: Tensor, to_image: Tensor) -> Tensor:
    """Return how close each cell's tags are to a person's, (K, h, w) in [0, 1].

    Args:
        tags: (K, T, h, w) at stride 4.
        keypoints: (K, 2) of the person in image pixels; its tags are their median.
        to_image: (2, 3) affine from network-input pixels to image pixels.
    """
    matrix = to_image.to(keypoints)
    cells = (keypoints - matrix[:, 2]) @ torch.linalg.inv(matrix[:, :2]).T / STRIDE
    height, width = tags.shape[-2:]
    x = cells[:, 0].long().clamp(0, width - 1).to(tags.device)
    y = cells[:, 1].long().clamp(0, height - 1).to(tags.device)
    keypoint = torch.arange(len(tags), device=tags.device)
    own = tags[keypoint, :, y, x].median(0).values  # (T,)
    return torch.exp(-(tags - own[:, None, None]).square().sum(1))


def ideal_outputs(model: HigherHRNet, batch: Batch) -> HigherHRNetOutputs:
    """Return the training targets, with tags that separate all people."""
    height, width = batch.images.shape[-2:]
    unmasked = {
        stride: batch.images.new_ones(
            len(batch), height // stride, width // stride, dtype=torch.bool
        )
        for stride in model.strides
    }
    targets = build_targets(replace(batch, masks=unmasked), model.strides)
    tags = torch.stack([ideal_tags(poses, (height, width)) for poses in cell_poses(batch, STRIDE)])
    [tags] = to_device([tags[:, :, None]], batch.device)
    return HigherHRNetOutputs(targets.heatmaps, tags, (height, width))


def ideal_tags(poses: Poses, size: tuple[int, int]) -> Tensor:
    """Return the ideal tags (K, h, w) of one image at stride 4.

    Cells within a Gaussian's radius of a keypoint have the tag of the nearest person, all others
    that of the background.

    Args:
        poses: in cells.
        size: H, W of the network input.
    """
    height, width = size[0] // STRIDE, size[1] // STRIDE
    keypoints = poses.keypoints.shape[1]
    tags = torch.full((keypoints, height, width), BACKGROUND_TAG)
    nearest = torch.full((keypoints, height, width), float(RADIUS))
    rows = torch.arange(height)[:, None]
    columns = torch.arange(width)
    for person in range(len(poses)):
        x, y = poses.keypoints[person].trunc().float().unbind(-1)  # (K,)
        distance = torch.hypot(columns - x[:, None, None], rows - y[:, None, None])
        distance = distance.where(poses.visibility[person, :, None, None] > 0, torch.inf)
        nearer = distance < nearest
        tags[nearer] = TAG_STEP * person
        nearest = torch.minimum(nearest, distance)
    return tags


def graph_outputs(
    model: HigherHRNet, images: Tensor, padding: Tensor | None, flip: bool
) -> dict[str, Tensor]:
    """Return the heatmaps of each stride, and the tags (B, K, h, w) of the coarsest."""
    outputs: HigherHRNetOutputs = model(images)
    maps = zip(model.strides, outputs.heatmaps, strict=True)
    return {f"heatmaps_{stride}": own for stride, own in maps} | {"tags": outputs.tags[:, :, 0]}


def restored(model: HigherHRNet, tensors: Named, size: tuple[int, int]) -> HigherHRNetOutputs:
    """Return the outputs that a runtime has computed."""
    heatmaps = tuple(tensors[f"heatmaps_{stride}"] for stride in model.strides)
    return HigherHRNetOutputs(heatmaps, tensors["tags"][:, :, None], size)


PROFILE = Profile(
    ideal_outputs=ideal_outputs, heatmaps=heatmaps, graph=Graph(graph_outputs, restored)
)
