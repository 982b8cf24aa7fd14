"""HigherHRNet's losses: squared error of heatmaps, and the associative embedding of tags.

Shapes: B images, P people of all images, K keypoints, h x w cells of a resolution.
"""

from __future__ import annotations

import torch
from torch import Tensor

from posebench.distributed import mean_count
from posebench.layers.precision import to_float32
from posebench.models.higher_hrnet.decoding import HigherHRNetOutputs
from posebench.models.higher_hrnet.recipes import HigherHRNetConfig
from posebench.models.higher_hrnet.targets import HigherHRNetTargets
from posebench.transfer import to_device


def loss_terms(
    outputs: HigherHRNetOutputs, targets: HigherHRNetTargets, config: HigherHRNetConfig
) -> dict[str, Tensor]:
    """Return the heatmap term and the weighted terms of the tags, means over images."""
    images = mean_count(len(outputs.tags), outputs.tags.device)
    heatmap = outputs.tags.new_zeros(len(outputs.tags))
    finest = len(outputs.heatmaps) - 1
    for level, (maps, target, mask) in enumerate(
        zip(outputs.heatmaps, targets.heatmaps, targets.masks, strict=True)
    ):
        # An unsupervised head takes part with weight 0, or other ranks would wait for its gradient.
        weight = 1.0 if config.supervise_all or level == finest else 0.0
        heatmap = heatmap + weight * heatmap_loss(maps, target, mask)
    push, pull = tag_losses(outputs.tags[:, :, 0], targets.people, targets.cells)
    return {
        "heatmap": heatmap.sum() / images,
        "push": config.push_weight * push.sum() / images,
        "pull": config.pull_weight * pull.sum() / images,
    }


def heatmap_loss(maps: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Return each image's mean squared error (B,); masked cells count as errors of zero.

    Args:
        maps: (B, K, h, w).
        targets: (B, K, h, w).
        mask: (B, 1, h, w) bool, False where the loss is ignored.

    Source: Sec. 3.4; the mask from the published code.
    """
    return ((to_float32(maps) - targets).square() * mask).mean((1, 2, 3))


def tag_losses(tags: Tensor, people: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Push people's mean tags apart, and pull keypoints' tags to their person's mean.

    Args:
        tags: (B, K, h, w).
        people: (P,) the image of each person, on the CPU.
        cells: (P, K) of the person's keypoints, y w + x; -1: no tag is trained; on the CPU.

    Returns:
        Push and pull of each image (B,).

    Source: associative embedding (arXiv:1611.05424); without a width in the exponent and with a
    factor of one half, as published.
    """
    tags = to_float32(tags)
    trained = cells >= 0
    any_trained = trained.any(1)
    people, cells, trained = people[any_trained], cells[any_trained], trained[any_trained]
    people_per_image = torch.bincount(people, minlength=len(tags))  # (B,)
    people, cells, trained, people_per_image = to_device(
        [people, cells, trained, people_per_image], tags.device
    )
    keypoint = torch.arange(cells.shape[1], device=cells.device)
    person_tags = tags.flatten(2)[people[:, None], keypoint, cells.clamp(min=0)]  # (P, K)
    count = trained.sum(1)
    mean = (person_tags * trained).sum(1) / count
    person_pull = ((person_tags - mean[:, None]).square() * trained).sum(1) / count

    same_image = (people[:, None] == people[None]).fill_diagonal_(False)
    closeness = torch.exp(-(mean[:, None] - mean[None]).square()) * same_image
    zeros = tags.new_zeros(len(tags))
    pairs = (people_per_image * (people_per_image - 1)).clamp(min=1)
    push = 0.5 * zeros.index_add(0, people, closeness.sum(1)) / pairs
    pull = zeros.index_add(0, people, person_pull) / people_per_image.clamp(min=1)
    # Zero, but it gives the tag maps a gradient also in images without people.
    no_loss = 0 * tags.mean((1, 2, 3))
    return push + no_loss, pull + no_loss
