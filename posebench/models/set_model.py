"""What methods share whose deformable encoder refines a pyramid and whose people are a set.

Shapes: B images, N predicted people of an image, K keypoints, C channels, S tokens of the pyramid,
D layers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from posebench.layers.backbones.resnet import ResNetBackbone
from posebench.layers.backbones.swin import SwinBackbone
from posebench.layers.deformable import DeformableEncoder, Tokens
from posebench.layers.pose_sets import PoseSets, build_targets
from posebench.layers.pyramid import EncodedPyramid, project, pyramid_tokens
from posebench.layers.set_decoding import decode_people, merge_views
from posebench.models.base import PoseModel
from posebench.preprocess import mirrored_images
from posebench.structures import Batch, Geometry, Inference, PosePredictions


class SetModel(PoseModel):
    """A pose estimator that predicts a set, without suppression.

    Its outputs are a dataclass with `logits` (D, B, N, 2), `keypoints` (D, B, N, K, 2), the inner
    values `views` for figures, and `merged`, the number of views that the predictions are of.
    """

    # The outputs with an axis of people, N -> that axis; those of several views lie along it.
    people_axes: ClassVar[Mapping[str, int]]

    backbone: ResNetBackbone | SwinBackbone
    projections: nn.ModuleList
    level_embedding: nn.Parameter
    encoder: DeformableEncoder

    def features(self, images: Tensor, padding: Tensor | None = None) -> EncodedPyramid:
        tokens = self.tokens(self.backbone(images), padding)
        return EncodedPyramid(tokens, self.encoder(tokens))

    def tokens(self, maps: Sequence[Tensor], padding: Tensor | None = None) -> Tokens:
        """Return the backbone's maps and a coarser level, projected, as tokens."""
        return pyramid_tokens(project(self.projections, maps), self.level_embedding, padding)

    def merged_outputs(self, batches: Sequence[Batch], inference: Inference) -> Any:
        """Return the people of all views as one set; the papers test a single view."""
        views = []
        for batch in batches:
            views.append(self(batch.images, batch.padding))
            if inference.flip:
                mirrored = self(mirrored_images(batch), batch.padding)
                views.append(self.mirror_back(mirrored, batch))
        return merge_views(views, self.people_axes)

    @abstractmethod
    def mirror_back(self, outputs: Any, batch: Batch) -> Any:
        """Return the outputs for a batch's mirrored images in coordinates of the images."""

    def targets(self, batch: Batch) -> PoseSets:
        return build_targets(batch)

    def decode(self, outputs: Any, geometry: Geometry) -> list[PosePredictions]:
        people = decode_people(outputs, geometry, self.skeleton)
        return [predictions for predictions, _ in people]
