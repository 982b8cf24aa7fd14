"""CID's global feature decoupling (GFD): one map per person from a map that all people share.

Shapes: B images, M people of all images, N people of one image, K keypoints, C features of a
person, E channels of the shared map, H x W cells.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posebench.layers.heatmaps import clamped_sigmoid

COORDINATE_SCALE = 32  # cells, of the relative coordinates in Eq. 10


class Decoupling(nn.Module):
    """GFD: one map per person from the shared map, Eqs. 7 and 9 to 12.

    Both recalibrations and their fusion are linear in the shared map S. With a the person's
    channel weights, m the person's mask and W_c, W_s the halves of the fusing convolution,

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
        cell_centre: float = 0.0,
    ) -> None:
        """Create the layers of one recalibration, or of both.

        Args:
            channels: C.
            num_keypoints: K.
            embedding: E.
            spatial: whether each person has a mask, Eq. 9.
            channel: whether each person has channel weights, Eq. 11.
            cell_centre: what is added to the cells in Eq. 10.
        """
        super().__init__()
        self.has_spatial, self.has_channel = spatial, channel
        self.cell_centre = cell_centre
        if channel:
            self.channel = nn.Linear(channels, embedding)
        if spatial:
            self.similarity = nn.Linear(channels, embedding)
            self.mask = nn.Conv2d(3, 1, 5, padding=2)
        self.fuse = nn.Conv2d(embedding * (channel + spatial), embedding, 1)
        self.heatmap = nn.Conv2d(embedding, num_keypoints, 1)

    def forward(
        self,
        shared: Tensor,
        person_features: Tensor,
        people: Tensor,
        counts: list[int] | None = None,
    ) -> Tensor:
        """Return the people's heatmap scores (M, K, H, W).

        Args:
            shared: S, (B, E, H, W).
            person_features: f of Eq. 7, (M, C).
            people: their centres (M, 3) image, y, x, sorted by image.
            counts: their number in each image; None: they are counted.
        """
        if torch.compiler.is_compiling():  # no loop over images, whose people are not counted
            return self.as_written(shared, person_features, people)
        # Per image, since all its people read the same map.
        counts = people_per_image(people, len(shared)) if counts is None else counts
        maps = shared.flatten(2)  # (B, E, HW)
        embedding = self.fuse.out_channels
        fuse = self.fuse.weight[:, :, 0, 0]
        matrices: tuple[Tensor | None, ...] = (None,) * len(counts)
        masks: tuple[Tensor | None, ...] = (None,) * len(counts)
        by_space: tuple[Tensor | None, ...] = (None,) * len(counts)
        if self.has_channel:
            # No sigmoid on a: the published code has none either.
            weights = self.channel(person_features)
            matrices = torch.split(fuse[:, :embedding] * weights[:, None], counts)
        if self.has_spatial:
            masks = torch.split(self.spatial_masks(shared, person_features, people, counts), counts)
            by_space = (fuse[:, -embedding:] @ maps).unbind(0)  # W_s S
        scores = [
            chunk
            for image, count in enumerate(counts)
            for chunk in self._image_scores(
                matrices[image], masks[image], maps[image], by_space[image], count
            )
        ]
        keypoints = self.heatmap.out_channels
        return torch.cat(scores).view(len(people), keypoints, *shared.shape[-2:])

    def slots(self, shared: Tensor, person_features: Tensor, people: Tensor) -> Tensor:
        """Return what `forward` does for equally many people of each image, (B, N, K, H, W).

        The form for exported networks: no loop over images or people, and no counting.

        Args:
            shared: S, (B, E, H, W).
            person_features: (B N, C).
            people: (B N, 3) image, y, x, sorted by image.
        """
        assert self.fuse.bias is not None
        assert self.heatmap.bias is not None
        batch, embedding, height, width = shared.shape
        maps = shared.flatten(2)  # (B, E, HW)
        fuse = self.fuse.weight[:, :, 0, 0]
        fused = self.fuse.bias[:, None]
        if self.has_channel:
            weights = self.channel(person_features)
            matrices = (fuse[:, :embedding] * weights[:, None]).view(batch, -1, embedding)
            fused = fused + (matrices @ maps).view(batch, -1, embedding, height * width)
        if self.has_spatial:
            similarity = self.similarity(person_features).view(batch, -1, embedding) @ maps
            masks = self._masks(similarity.flatten(0, 1), people, (height, width))
            masks = masks.view(batch, -1, 1, height * width)
            fused = fused + masks * (fuse[:, -embedding:] @ maps)[:, None]
        logits = self.heatmap.weight[:, :, 0, 0] @ fused.relu() + self.heatmap.bias[:, None]
        return clamped_sigmoid(logits).view(*logits.shape[:3], height, width)

    def as_written(self, shared: Tensor, person_features: Tensor, people: Tensor) -> Tensor:
        """Return the same as `forward`, by Eqs. 9 to 12 on a copy of the shared map per person."""
        if not len(people):
            return shared.new_zeros(0, self.heatmap.out_channels, *shared.shape[-2:])
        maps = shared[people[:, 0]]  # (M, E, H, W)
        recalibrated = []
        if self.has_channel:
            recalibrated.append(maps * self.channel(person_features)[:, :, None, None])
        if self.has_spatial:
            # Each person's copy is an image with one person.
            ones = [1] * len(people)
            alone = F.pad(people[:, 1:], (1, 0))
            masks = self.spatial_masks(maps, person_features, alone, ones)
            recalibrated.append(maps * masks.view(len(maps), 1, *maps.shape[-2:]))
        fused = self.fuse(torch.cat(recalibrated, 1)).relu()
        return clamped_sigmoid(self.heatmap(fused))

    def spatial_masks(
        self, shared: Tensor, person_features: Tensor, people: Tensor, counts: list[int]
    ) -> Tensor:
        """Return the foreground masks (M, HW) of Eq. 10.

        Args:
            shared: S, (B, E, H, W).
            person_features: (M, C).
            people: (M, 3) image, y, x, sorted by image.
            counts: the number of people in each image.
        """
        height, width = shared.shape[-2:]
        queries = torch.split(self.similarity(person_features), counts)
        similarity = torch.cat(
            [q @ s for q, s in zip(queries, shared.flatten(2).unbind(0), strict=True)]
        )
        return self._masks(similarity, people, (height, width))

    def _masks(self, similarity: Tensor, people: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the masks (M, HW) from each cell's similarity (M, HW) to a person, and offsets."""
        _, y, x = people.unbind(1)
        height, width = size
        columns = torch.arange(width, device=people.device)
        rows = torch.arange(height, device=people.device)
        if self.cell_centre:
            y, x = y - self.cell_centre, x - self.cell_centre
        dx = (x[:, None] - columns) / COORDINATE_SCALE
        dy = (y[:, None] - rows) / COORDINATE_SCALE
        similarity = similarity.view(similarity.shape[0], height, width)
        offsets = [dx[:, None].expand(-1, height, -1), dy[:, :, None].expand(-1, -1, width)]
        cues = [similarity, *(offset.to(similarity) for offset in offsets)]
        return torch.sigmoid(self.mask(torch.stack(cues, 1))).flatten(1)

    def _image_scores(
        self,
        matrices: Tensor | None,
        masks: Tensor | None,
        shared: Tensor,
        by_space: Tensor | None,
        count: int,
    ) -> Iterator[Tensor]:
        """Yield the heatmap scores (n, K, HW) of one image's people, some people at a time.

        Args:
            matrices: W_c diag(a), (N, E, E); None: no channel recalibration.
            masks: m, (N, HW); None: no spatial recalibration.
            shared: S, (E, HW).
            by_space: W_s S, (E, HW).
            count: N.
        """
        chunk = people_per_chunk(count, shared.device)
        for first in range(0, max(count, 1), chunk):  # an image without people: one empty chunk
            rows = slice(first, first + chunk)
            yield self._scores(
                None if matrices is None else matrices[rows],
                None if masks is None else masks[rows],
                shared,
                by_space,
            )

    def _scores(
        self,
        matrices: Tensor | None,
        masks: Tensor | None,
        shared: Tensor,
        by_space: Tensor | None,
    ) -> Tensor:
        """Return the heatmap scores (n, K, HW) of some people of one image."""
        assert self.fuse.bias is not None
        assert self.heatmap.bias is not None
        if matrices is None:
            assert masks is not None
            assert by_space is not None
            fused = masks[:, None] * by_space
        else:
            size = (*matrices.shape[:2], shared.shape[1])
            fused = (matrices.flatten(0, 1) @ shared).view(size)
            if masks is not None:
                assert by_space is not None
                fused.addcmul_(masks[:, None], by_space)
        # In place: for its gradient, the product needs its factors and not its result.
        fused.add_(self.fuse.bias[:, None]).relu_()
        logits = self.heatmap.weight[:, :, 0, 0] @ fused
        return clamped_sigmoid(logits + self.heatmap.bias[:, None])


def people_per_image(people: Tensor, images: int) -> list[int]:
    """Return the number of people in each of some images; people are (M, 3) image, y, x."""
    counts: list[int] = torch.bincount(people[:, 0], minlength=images).tolist()
    return counts


def counts_wait(maps: Tensor) -> bool:
    """Return whether counting the people that are detected in maps would hold up the network.

    A GPU is waited for, and a compiled graph ends there. Then every image has as many slots.
    """
    return maps.is_cuda or torch.compiler.is_compiling()


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
