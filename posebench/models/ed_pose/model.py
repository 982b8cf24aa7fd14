"""ED-Pose: explicit box detection for end-to-end pose estimation (Yang et al., ICLR 2023).

A deformable encoder refines a feature pyramid; its best tokens become box queries. Box layers of
the decoder detect people among them. The best ones go on to pose layers, each with K keypoint
queries, whose references are boxes too. Predictions are a set without suppression. Follows the
published code; docs/ed_pose.md lists what is odd in it.

Shapes: B images, M box queries, N predicted people of an image, K keypoints, Q noise queries, C
channels, S tokens of the pyramid. Boxes are centre x, y, width, height, and keypoints x, y, as
shares of the image without padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from posebench.layers.backbones.resnet import ResNetBackbone
from posebench.layers.backbones.swin import SwinBackbone
from posebench.layers.deformable import DeformableEncoder
from posebench.layers.pose_sets import PoseSets, labelled_people
from posebench.layers.precision import no_autocast, to_float32
from posebench.layers.proposals import best_tokens, proposal_centres, proposal_sides, select
from posebench.layers.pyramid import (
    COMPUTED_TENSORS,
    PUBLISHED_NAMES,
    EncodedPyramid,
    build_backbone,
    build_projections,
)
from posebench.layers.transformer import class_head, zero_init_head
from posebench.models.ed_pose.decoder import Decoder, LayerSteps
from posebench.models.ed_pose.denoising import NoisyPeople, draw, noisy_people
from posebench.models.ed_pose.losses import loss_terms
from posebench.models.ed_pose.outputs import (
    Detections,
    EDPoseOutputs,
    NoiseQueries,
    View,
    mirror_back,
)
from posebench.models.ed_pose.recipes import EDPoseConfig
from posebench.models.keypoint_rows import Rows, of_keypoints
from posebench.models.set_model import SetModel
from posebench.skeleton import Skeleton
from posebench.structures import Batch
from posebench.transfer import moved


@dataclass(frozen=True)
class Proposals:
    """The encoder's selected tokens, which become the box queries."""

    features: Tensor  # (B, M, C)
    logits: Tensor  # (B, M, 2), float32
    boxes: Tensor  # (B, M, 4), float32
    token_logits: Tensor  # (B, S, 2), of all tokens


class EDPose(SetModel):
    """A backbone, a deformable encoder, and a decoder of boxes, then of boxes and keypoints."""

    config: EDPoseConfig

    people_axes: ClassVar[dict[str, int]] = {"logits": 2, "boxes": 2, "keypoints": 2}
    published_names: ClassVar[dict[str, str]] = {
        **PUBLISHED_NAMES,
        "class_embed.": "decoder.class_heads.",
        "bbox_embed.": "decoder.box_heads.",
        "pose_embed.": "decoder.pose_heads.",
        "pose_hw_embed.0.": "decoder.side_head.",
        "label_enc.weight": "decoder.label_embedding",
        "transformer.decoder.layers.": "decoder.layers.",
        "transformer.decoder.norm.": "decoder.norm.",
        "transformer.decoder.ref_point_head.": "decoder.position_head.",
        "transformer.decoder.keypoint_embed.weight": "decoder.keypoint_embedding",
        "transformer.decoder.hw.weight": "decoder.keypoint_sides",
        "transformer.enc_out_bbox_embed.": "proposal_box.",
    }
    # A second copy of the heads, further copies of the one that moves sides, and Swin's index
    # tables, which are computed.
    ignored_checkpoint_keys: ClassVar[tuple[str, ...]] = (
        r"^transformer\.decoder\.(class|bbox|pose|pose_hw)_embed\.",
        r"^pose_hw_embed\.[1-9]",
        COMPUTED_TENSORS,
    )

    def __init__(self, config: EDPoseConfig, skeleton: Skeleton) -> None:
        super().__init__(config, skeleton)
        width, levels = config.channels, config.levels
        self.backbone = self._build_backbone()
        self.projections = build_projections(self.backbone.channels, width)
        self.level_embedding = nn.Parameter(torch.randn(levels, width))
        self.encoder = DeformableEncoder(width, config.hidden, config.encoder_layers, levels)
        self.proposal_features = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))
        assert isinstance(self.proposal_features[0], nn.Linear)
        nn.init.xavier_uniform_(self.proposal_features[0].weight)
        self.proposal_class = class_head(width)
        self.proposal_box = zero_init_head([width, width, width, 4])
        self.decoder = Decoder(config, len(skeleton))

    def _build_backbone(self, *, pretrained: bool = False) -> ResNetBackbone | SwinBackbone:
        config = self.config
        return build_backbone(
            config.backbone, frozen=config.frozen_backbone, finest=config.levels == 5,
            pretrained=pretrained,
        )  # fmt: skip

    def load_pretrained(self) -> None:
        self.backbone = self._build_backbone(pretrained=True)

    def keypoint_rows(self) -> dict[str, Rows]:
        keypoints = of_keypoints(self.skeleton)
        return {
            "decoder.keypoint_embedding": {0: keypoints},
            "decoder.keypoint_sides": {0: keypoints},
        }

    def heads(self, features: EncodedPyramid, people: Tensor | None = None) -> EDPoseOutputs:
        """Return the last layer's predictions; `people` is ignored: the decoder detects them."""
        return self.predictions(features)

    def predictions(
        self,
        features: EncodedPyramid,
        noise: NoiseQueries | None = None,
        *,
        every_layer: bool = False,
        proposals: Proposals | None = None,
    ) -> EDPoseOutputs:
        """Return the predictions of every layer, or of the last layer alone.

        Args:
            features: of the images.
            noise: the noise queries; None: no noise queries.
            every_layer: return those of the encoder and of every layer too.
            proposals: of the features, if they have been computed before.
        """
        proposals = proposals or self.propose(features)
        # No gradient flows from the box queries into the proposals' features and boxes.
        steps, layers = self.decoder(
            proposals.features.detach(), proposals.boxes.detach(), features, noise,
            every_layer=every_layer,
        )  # fmt: skip
        noises = 0 if noise is None else noise.content.shape[1]
        boxed = layers[: len(layers) - self.config.pose_layers] if every_layer else []
        posed = layers[len(boxed) :]
        detected = None
        if every_layer:
            detected = Detections(
                torch.stack([proposals.logits, *(one.logits[:, noises:] for one in boxed)]),
                torch.stack([proposals.boxes, *(one.boxes[:, noises:] for one in boxed)]),
            )
        of_noise = None
        if noise is not None:
            of_noise = Detections(
                torch.stack([one.logits[:, :noises] for one in layers]),
                torch.stack([one.boxes[:, :noises] for one in layers]),
            )
        return EDPoseOutputs(
            logits=torch.stack([one.logits[:, noises:] for one in posed]),
            boxes=torch.stack([one.boxes[:, noises:] for one in posed]),
            keypoints=torch.stack([one.keypoints for one in posed if one.keypoints is not None]),
            detected=detected,
            noise=of_noise,
            views=(self.view(features, proposals, steps),) if noise is None else (),
        )

    def propose(self, features: EncodedPyramid, *, every_token: bool = False) -> Proposals:
        """Return the encoder's best tokens, with the boxes that they propose.

        Args:
            features: of the images.
            every_token: compute the boxes of all tokens, as the published code does, and not only
                those that are used.
        """
        tokens = features.tokens
        usable, centres = proposal_centres(tokens)
        memory = features.memory * usable[..., None].to(features.memory.dtype)
        candidates = self.proposal_features(memory)
        token_logits = self.proposal_class(candidates)
        best = best_tokens(token_logits, self.config.box_queries)
        chosen = select(candidates, best)
        if every_token:
            deltas = select(self.proposal_box(candidates), best)
        else:
            deltas = self.proposal_box(chosen)
        # As published, tokens that may propose nobody can be selected: boxes of sides 1.
        sides = proposal_sides(tokens).masked_fill(~usable[..., None], torch.inf)
        anchors = select(torch.cat([centres, sides], -1), best)
        return Proposals(
            features=chosen,
            logits=to_float32(select(token_logits, best)),
            boxes=(to_float32(deltas) + anchors).sigmoid(),
            token_logits=token_logits,
        )

    def view(
        self, features: EncodedPyramid, proposals: Proposals, steps: Sequence[LayerSteps]
    ) -> View:
        """Return the inner values that figures show."""
        posed = steps[self.config.box_layers :]
        references = [posed[0].before, *(step.after for step in posed)]
        return View(
            tokens=features.tokens,
            token_logits=proposals.token_logits,
            references=torch.stack([self.decoder.by_person(own, 0) for own in references]),
            queries=self.decoder.by_person(posed[-1].entering, 0),
        )

    def mirror_back(self, outputs: EDPoseOutputs, batch: Batch) -> EDPoseOutputs:
        return mirror_back(outputs, batch, self.skeleton)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        people = labelled_people(batch)
        noisy = self.noisy_people(people, batch.seeds) if self.config.noise_queries else None
        sigmas = torch.tensor(self.skeleton.sigmas)
        targets, noisy, sigmas = moved((people, noisy, sigmas), batch.device)
        noise = self.noise(noisy) if noisy else None
        features = self.features(batch.images, batch.padding)
        outputs = self.predictions(features, noise, every_layer=True)
        with no_autocast(batch.images.device):
            return loss_terms(outputs, targets, noisy, sigmas, self.config.weights)

    def noisy_people(self, targets: PoseSets, seeds: Sequence[int]) -> NoisyPeople:
        """Return what the noise queries of images with these people and seeds start from.

        All are on the CPU.
        """
        counts = [len(boxes) for boxes in targets.boxes]
        return noisy_people(targets.boxes, draw(counts, seeds, self.config.noise_queries))

    def noise(self, noisy: NoisyPeople) -> NoiseQueries:
        """Return the noise queries that start from noisy people."""
        return NoiseQueries(self.decoder.label_embedding[noisy.labels], noisy.boxes, noisy.sees)
