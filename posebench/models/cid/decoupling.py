"""CID's global feature decoupling (GFD): one map per person out of a map that all share.

Shapes: B images, M people of all images, N of one, K keypoints, C features of a person, E channels
of the shared map, H x W cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posebench.layers.heatmaps import clamped_sigmoid

COORDINATE_SCALE = 32  # cells, of the relative coordinates in Eq. 10


class Decoupling(nn.Module):
    """GFD: one map per person out of the shared map, Eqs. 7 and 9 to 12.

    Both recalibrations and their fusion are linear in the shared map S. With a the person's
    channel weights, m its mask and W_c, W_s the halves of the fusing convolution,

        W_c (S * a) + W_s (S * m) = (W_c diag(a)) S + m * (W_s S),

    so a person costs one E x E matrix and its product with S; W_s S is shared by all people.
    """

    def __init__(
        self,
        channels: int,
        num_keypoints: int,
        embedding: int,
        *,
        spatial: bool = True,
        channel: bool = True,
    ) -> None:
        """Make the layers of one recalibration or of both.

        Args:
            channels: C.
            num_keypoints: K.
            embedding: E.
            spatial: a mask per person, Eq. 9.
            channel: weights per person, Eq. 11.
        """
        super().__init__()
        self.has_spatial, self.has_channel = spatial, channel
        if channel:
            self.channel = nn.Linear(channels, embedding)
        if spatial:
            self.similarity = nn.Linear(channels, embedding)
            self.mask = nn.Conv2d(3, 1, 5, padding=2)
        self.fuse = nn.Conv2d(embedding * (channel + spatial), embedding, 1)
        self.heatmap = nn.Conv2d(embedding, num_keypoints, 1)

    def forward(self, shared: Tensor, person_features: Tensor, people: Tensor) -> Tensor:
        """Return the heatmap scores (M, K, H, W) of people.

        Args:
            shared: S, (B, E, H, W).
            person_features: f of Eq. 7, (M, C).
            people: their centres (M, 3) image, y, x, sorted by image.
        """
        # Per image, since all its people read the same map.
        counts = torch.bincount(people[:, 0], minlength=len(shared)).tolist()
        maps = shared.flatten(2)  # (B, E, HW)
        embedding = self.fuse.out_channels
        fuse = self.fuse.weight[:, :, 0, 0]
        matrices: Sequence[Tensor | None] = [None] * len(counts)
        masks: Sequence[Tensor | None] = [None] * len(counts)
        by_space: Sequence[Tensor | None] = [None] * len(counts)
        if self.has_channel:
            # Without a sigmoid on a: the published code has none either.
            matrices = per_image(
                fuse[:, :embedding] * self.channel(person_features)[:, None], counts
            )
        if self.has_spatial:
            masks = per_image(self.spatial_masks(shared, person_features, people, counts), counts)
            by_space = (fuse[:, -embedding:] @ maps).unbind(0)  # W_s S
        scores = []
        for image, count in enumerate(counts):
            chunk = people_per_chunk(count, shared.device)
            for own, own_masks in zip(
                chunks(matrices[image], count, chunk),
                chunks(masks[image], count, chunk),
                strict=True,
            ):
                scores.append(self._scores(own, own_masks, maps[image], by_space[image]))
        keypoints = self.heatmap.out_channels
        return torch.cat(scores).view(len(people), keypoints, *shared.shape[-2:])

    def as_written(self, shared: Tensor, person_features: Tensor, people: Tensor) -> Tensor:
        """Return what `forward` does, by Eqs. 9 to 12 on a copy of the shared map for everyone."""
        if not len(people):
            return shared.new_zeros(0, self.heatmap.out_channels, *shared.shape[-2:])
        maps = shared[people[:, 0]]  # (M, E, H, W)
        recalibrated = []
        if self.has_channel:
            recalibrated.append(maps * self.channel(person_features)[:, :, None, None])
        if self.has_spatial:
            # One image of its own for everyone.
            ones = [1] * len(people)
            alone = F.pad(people[:, 1:], (1, 0))
            masks = self.spatial_masks(maps, person_features, alone, ones)
            recalibrated.append(maps * masks.view(len(maps), 1, *maps.shape[-2:]))
        fused = self.fuse(torch.cat(recalibrated, 1)).relu()
        return clamped_sigmoid(self.heatmap(fused))

    def _scores(
        self,
        matrices: Tensor | None,
        masks: Tensor | None,
        shared: Tensor,
        shared_by_space: Tensor | None,
    ) -> Tensor:
        """Return the heatmap scores (N, K, HW) of some people of one image.

        Args:
            matrices: W_c diag(a), (N, E, E).
            masks: m, (N, HW).
            shared: S, (E, HW).
            shared_by_space: W_s S, (E, HW).
        """
        assert self.fuse.bias is not None
        assert self.heatmap.bias is not None
        if matrices is None:
            assert masks is not None
            assert shared_by_space is not None
            fused = masks[:, None] * shared_by_space
        else:
            size = (*matrices.shape[:2], shared.shape[1])
            fused = (matrices.flatten(0, 1) @ shared).view(size)
            if masks is not None:
                assert shared_by_space is not None
                fused.addcmul_(masks[:, None], shared_by_space)
        # In place: the product keeps its factors for the gradient, not its result.
        fused.add_(self.fuse.bias[:, None]).relu_()
        logits = self.heatmap.weight[:, :, 0, 0] @ fused
        return clamped_sigmoid(logits + self.heatmap.bias[:, None])

    def spatial_masks(
        self, shared: Tensor, person_features: Tensor, people: Tensor, counts: list[int]
    ) -> Tensor:
        """Return the foreground masks (M, HW) of Eq. 10."""
        _, y, x = people.unbind(1)
        height, width = shared.shape[-2:]
        queries = per_image(self.similarity(person_features), counts)
        similarity = torch.cat(
            [q @ s for q, s in zip(queries, shared.flatten(2).unbind(0), strict=True)]
        )
        columns = torch.arange(width, device=people.device)
        rows = torch.arange(height, device=people.device)
        dx = (x[:, None] - columns) / COORDINATE_SCALE
        dy = (y[:, None] - rows) / COORDINATE_SCALE
        size = (len(people), height, width)
        similarity = similarity.view(size)
        offsets = [dx[:, None].expand(size), dy[:, :, None].expand(size)]
        cues = [similarity, *(offset.to(similarity) for offset in offsets)]
        masks: Tensor = self.mask(torch.stack(cues, 1)).sigmoid()
        return masks.flatten(1)


def per_image(values: Tensor, counts: list[int]) -> tuple[Tensor, ...]:
    """Return the rows of each image, of which `counts` says how many."""
    return torch.split(values, counts)


def chunks(values: Tensor | None, count: int, chunk: int) -> Sequence[Tensor | None]:
    """Return the rows of `count` people, `chunk` at a time; without people, one empty chunk."""
    if values is None:
        return [None] * max(-(-count // chunk), 1)
    return torch.split(values, chunk)


def people_per_chunk(count: int, device: torch.device) -> int:
    """Return how many of an image's people to process at a time.

    The maps of one person fit into a CPU's cache, those of all people do not: one by one they take
    a quarter of the time. On other devices, and where gradients are recorded, many small steps
    cost more than that saves.

    Args:
        count: the number of people.
        device: of their maps.
    """
    if device.type == "cpu" and not torch.is_grad_enabled():
        return 1
    return max(count, 1)
