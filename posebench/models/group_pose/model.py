"""Group Pose: end-to-end pose estimation with group self-attentions (Liu et al., ICCV 2023).

A deformable encoder refines a pyramid; its best tokens become people. Each person is K keypoint
queries, which regress one keypoint each, and an instance query, which scores the pose. In every
decoder layer the queries of one person see one another, then those of one type. Predictions are a
set: nothing is suppressed. Follows the published code where it and the paper differ;
docs/group_pose.md lists where.

Shapes: B images, N predicted people of an image (the paper's instances), K keypoints, T queries of
a person: the instance query, then the keypoint queries. C channels, S tokens of the pyramid, L
levels, D decoder layers. Keypoints are x, y as shares of the image without padding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posebench.distributed import mean_count
from posebench.layers.affine import apply
from posebench.layers.backbones import SWIN_WEIGHTS
from posebench.layers.backbones.resnet import ResNetBackbone
from posebench.layers.backbones.swin import SwinBackbone
from posebench.layers.deformable import (
    DeformableAttention,
    DeformableEncoder,
    Tokens,
    feed_forward,
)
from posebench.layers.matching import PERSON
from posebench.layers.nms import oks_nms
from posebench.layers.precision import to_float32
from posebench.layers.transformer import (
    MLP,
    SelfAttention,
    class_head,
    inverse_sigmoid,
    map_encoding,
    point_encoding,
    zero_init_head,
)
from posebench.models.base import PoseModel
from posebench.models.group_pose.detection import DetectedBoxes, DetectionDecoder, box_loss
from posebench.models.group_pose.matching import PoseSets, set_losses
from posebench.models.group_pose.recipes import GroupPoseConfig
from posebench.preprocess import mirrored_images
from posebench.structures import (
    Batch,
    Geometry,
    Inference,
    PosePredictions,
    Skeleton,
)

STRIDE = 8  # of the finest level
LEVELS = 4  # strides 8, 16, 32 and 64
MAP_TEMPERATURE = 20.0  # of the position encoding of maps
BORDER = 0.01  # a token this near to the image's border proposes nobody
POSES_KEPT = 50  # of an image, in testing
SAME_PERSON = 0.7  # OKS above which two views' poses are one person's; ours, one view needs none
VISIBILITY = 1.0 / (1.0 + math.exp(-1.0))  # the published score of every keypoint


@dataclass(frozen=True)
class GroupPoseFeatures:
    tokens: Tokens  # before the encoder
    memory: Tensor  # (B, S, C), after it


@dataclass(frozen=True)
class View:
    """One look at the images, mirrored or at a scale, for those who want to know what it saw."""

    tokens: Tokens
    token_logits: Tensor  # (B, S, 2)
    references: Tensor  # (D + 1, B, N, K, 2), from the proposals to the last layer's keypoints
    queries: Tensor  # (B, N, T, C), as they enter the last layer's cross-attention
    mirrored: bool = False


@dataclass(frozen=True)
class GroupPoseOutputs:
    """Every layer's predictions where the model trains, else the last layer's alone.

    Of several views at test time, those of one follow those of the other: N counts them all.
    """

    logits: Tensor  # (D, B, N, 2), float32
    keypoints: Tensor  # (D, B, N, K, 2), float32
    proposal_logits: Tensor  # (B, N, 2), of the encoder's tokens that were chosen
    proposal_keypoints: Tensor  # (B, N, K, 2), the decoder's first references
    detected: DetectedBoxes | None = None
    views: tuple[View, ...] = ()  # none: ideal outputs


# ---------------------------------------------------------------------------------------- network


class DecoderLayer(nn.Module):
    """Group self-attentions, deformable cross-attention and a feed-forward network (Sec. 3.3)."""

    def __init__(self, config: GroupPoseConfig) -> None:
        super().__init__()
        channels = config.channels
        self.config = config
        grouped = config.self_attention == "group"
        if config.within_instance or not grouped:
            self.within_attn = SelfAttention(channels)
            self.within_norm = nn.LayerNorm(channels)
        if config.across_instance and grouped:
            if not (config.shared_attention and config.within_instance):
                self.across_attn = SelfAttention(channels)
            self.across_norm = nn.LayerNorm(channels)
        self.cross_attn = DeformableAttention(channels, LEVELS)
        self.norm1 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, config.hidden)
        self.linear2 = nn.Linear(config.hidden, channels)
        self.norm2 = nn.LayerNorm(channels)
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(
        self, queries: Tensor, positions: Tensor, references: Tensor, features: GroupPoseFeatures
    ) -> tuple[Tensor, Tensor]:
        """Return the refined queries (B, N, T, C), and as they entered the cross-attention.

        Args:
            queries: (B, N, T, C), to which the published code has added the positions already: it
                adds them in place, so that values and residuals hold them too.
            positions: (B, N, T, C), zero for the instance query; added again before the
                cross-attention.
            references: (B, N, T, 2) around which the queries look.
            features: of the image.
        """
        entering = self.self_attended(queries) + positions
        places = features.tokens.on_every_level(references).flatten(1, 2)
        return self.fed(self.cross_attended(entering, places, features)), entering

    def self_attended(self, queries: Tensor) -> Tensor:
        """Return (B, N, T, C): what the queries learned from one another."""
        config = self.config
        if config.self_attention != "group":
            mask = None
            if config.self_attention == "masked":
                mask = _group_mask(queries.shape[1], queries.shape[2], queries.device)
            read = self.within_attn(queries.flatten(1, 2), mask=mask).view_as(queries)
            attended: Tensor = self.within_norm(queries + read)
            return attended
        if config.within_instance:
            queries = self.within_norm(queries + self.within_attn(queries, axis=2))
        if config.across_instance:
            queries = self.across_norm(queries + self._across(queries))
        return queries

    def cross_attended(
        self, queries: Tensor, places: Tensor, features: GroupPoseFeatures
    ) -> Tensor:
        """Return (B, N, T, C): what they learned around their `places` (B, N T, L, 2)."""
        tokens = features.tokens
        read = self.cross_attn(
            queries.flatten(1, 2), places, features.memory, tokens.sizes, tokens.padding
        )
        attended: Tensor = self.norm1(queries + read.view_as(queries))
        return attended

    def fed(self, queries: Tensor) -> Tensor:
        fed: Tensor = self.norm2(queries + feed_forward(queries, self.linear1, self.linear2))
        return fed

    def _across(self, queries: Tensor) -> Tensor:
        attend = self.across_attn if hasattr(self, "across_attn") else self.within_attn
        first, last = 0, queries.shape[2]
        if self.config.has_instance and self.config.has_keypoints:
            if self.config.across_types == "keypoint":
                first = 1
            elif self.config.across_types == "instance":
                last = 1
        read: Tensor = attend(queries[:, :, first:last], axis=1)
        # The others stay as they are: nothing is added to them.
        return F.pad(read, (0, 0, first, queries.shape[2] - last))


def _group_mask(people: int, types: int, device: torch.device) -> Tensor:
    """Return (N T, N T), True between queries of one person or of one type (Fig. 3b)."""
    person = torch.arange(people, device=device).repeat_interleave(types)
    kind = torch.arange(types, device=device).repeat(people)
    return (person[:, None] == person) | (kind[:, None] == kind)


class GroupPose(PoseModel):
    """A backbone, a deformable encoder, and a decoder of N (K + 1) queries."""

    config: GroupPoseConfig

    published_names: ClassVar[dict[str, str]] = {
        "backbone.0.body.": "backbone.body.",
        "backbone.0.patch_embed.": "backbone.stages.patch_embed.",
        **{f"backbone.0.norm{stage}.": f"backbone.norms.{stage - 1}." for stage in (1, 2, 3)},
        **{
            f"backbone.0.layers.{stage}.blocks.": f"backbone.stages.layers_{stage}.blocks."
            for stage in range(4)
        },
        # timm has a stage begin with what was published as the end of the stage before.
        **{
            f"backbone.0.layers.{s - 1}.downsample.": f"backbone.stages.layers_{s}.downsample."
            for s in (1, 2, 3)
        },
        "input_proj.": "projections.",
        "class_embed.": "class_heads.",
        "pose_embed.": "pose_heads.",
        "transformer.level_embed": "level_embedding",
        "transformer.keypoint_embedding.weight": "keypoint_embedding",
        "transformer.instance_embedding.weight": "instance_embedding",
        "transformer.encoder.": "encoder.",
        "transformer.decoder.layers.": "decoder.",
        "transformer.decoder.half_pose_ref_point_head.": "position_head.",
        "transformer.enc_output.": "proposal_features.0.",
        "transformer.enc_output_norm.": "proposal_features.1.",
        "transformer.enc_out_class_embed.": "proposal_class.",
        "transformer.enc_pose_embed.": "proposal_pose.",
    }
    # The heads are saved twice, and Swin's windows with what can be computed.
    ignored_checkpoint_keys: ClassVar[tuple[str, ...]] = (
        r"^transformer\.decoder\.(class|pose)_embed\.",
        r"\.relative_position_index$",
    )

    def __init__(self, config: GroupPoseConfig, skeleton: Skeleton) -> None:
        super().__init__(config, skeleton)
        width, keypoints = config.channels, len(skeleton)
        self.backbone = _backbone(config)
        self.projections = _projections(self.backbone.channels, width)
        self.level_embedding = nn.Parameter(torch.randn(LEVELS, width))
        self.encoder = DeformableEncoder(width, config.hidden, config.encoder_layers, LEVELS)
        self.proposal_features = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))
        self.proposal_class = class_head(width)
        self.proposal_pose = zero_init_head([width, 2 * width, 2 * width, 2 * width, 2 * keypoints])
        if config.has_keypoints:
            self.keypoint_embedding = nn.Parameter(torch.empty(keypoints, width))
            nn.init.xavier_uniform_(self.keypoint_embedding)
        if config.has_instance:
            self.instance_embedding = nn.Parameter(torch.empty(1, width))
            nn.init.xavier_uniform_(self.instance_embedding)
        self.position_head = MLP([width, width, width])
        if config.detection_layers:
            self.detection = DetectionDecoder(
                width, config.hidden, config.detection_layers, LEVELS, config.detection_queries
            )
        layers = range(config.pose_layers)
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in layers)
        self.class_heads = nn.ModuleList(class_head(width) for _ in layers)
        outputs = 2 if config.has_keypoints else 2 * keypoints
        self.pose_heads = nn.ModuleList(
            zero_init_head([width, width, width, outputs]) for _ in layers
        )
        for head in (self.proposal_features[0], *self.position_head.layers):
            assert isinstance(head, nn.Linear)
            nn.init.xavier_uniform_(head.weight)

    def load_pretrained(self) -> None:
        self.backbone = _backbone(self.config, pretrained=True)

    def features(self, images: Tensor, padding: Tensor | None = None) -> GroupPoseFeatures:
        tokens = self.tokens(self.backbone(images), padding)
        return GroupPoseFeatures(tokens, self.encoder(tokens))

    def tokens(self, maps: Sequence[Tensor], padding: Tensor | None = None) -> Tokens:
        """Return the backbone's maps, and a fourth one, projected and as tokens."""
        # The fourth level is made of the last map, not of its projection.
        pyramid = [
            project(features)
            for project, features in zip(self.projections, [*maps, maps[-1]], strict=True)
        ]
        if padding is None:  # one position encoding serves all images
            paddings = [m.new_zeros(1, *m.shape[-2:], dtype=torch.bool) for m in pyramid]
        else:
            paddings = [
                F.interpolate(padding[None].float(), m.shape[-2:])[0].bool() for m in pyramid
            ]
        positions = [
            map_encoding(own, self.config.channels, MAP_TEMPERATURE).flatten(1, 2).to(m.dtype)
            for own, m in zip(paddings, pyramid, strict=True)
        ]
        extents = [
            torch.stack([(~own[:, 0]).sum(1), (~own[:, :, 0]).sum(1)], -1) for own in paddings
        ]
        return Tokens(
            values=torch.cat([m.flatten(2) for m in pyramid], 2).transpose(1, 2),
            positions=torch.cat(
                [p + level for p, level in zip(positions, self.level_embedding, strict=True)], 1
            ),
            padding=None if padding is None else torch.cat([p.flatten(1) for p in paddings], 1),
            extents=torch.stack(extents, 1).float(),
            sizes=tuple((m.shape[-2], m.shape[-1]) for m in pyramid),
        )

    def heads(self, features: GroupPoseFeatures, people: Tensor | None = None) -> GroupPoseOutputs:
        """Return the predictions; `people` is not looked at, since queries find them."""
        chosen, logits, proposed, token_logits, detected = self.propose(features)
        # Neither the content nor the place of the first queries carries gradients back.
        queries = self.initial_queries(chosen.detach())
        references = before = proposed.detach()
        path = [references]
        all_logits, all_keypoints = [], []
        positions = self.positions(references, features)
        queries = queries + positions
        for number, layer in enumerate(self.decoder):
            places = self.with_centre(references)
            queries, entering = layer(queries, positions, places, features)
            after = self.refined(number, queries, references)
            last = number == len(self.decoder) - 1
            if not last:
                positions = self.positions(after.detach(), features)
                # The next layer adds its positions in place, before the published heads of this
                # one read the queries: its predictions differ from the next one's references.
                queries = queries + positions
            if last or self.training:
                all_logits.append(self.scored(number, queries))
                # From what the layer before predicted, with its gradients: "look forward twice".
                all_keypoints.append(self.refined(number, queries, before))
            before, references = after, after.detach()
            path.append(references)
        return GroupPoseOutputs(
            logits=torch.stack(all_logits),
            keypoints=torch.stack(all_keypoints),
            proposal_logits=logits,
            proposal_keypoints=proposed,
            detected=detected,
            views=(View(features.tokens, token_logits, torch.stack(path), entering),),
        )

    def propose(
        self, features: GroupPoseFeatures
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, DetectedBoxes | None]:
        """Find who may be there, from the encoder's tokens or from boxes detected among them.

        Returns:
            The features (B, N, C), logits (B, N, 2) and keypoints (B, N, K, 2) of the proposals,
            the logits of all tokens (B, S, 2), and the detected boxes, if any.
        """
        tokens = features.tokens
        usable, centres = proposal_centres(tokens)
        memory = features.memory * usable[..., None].to(features.memory.dtype)
        found = self.proposal_features(memory)
        logits = token_logits = self.proposal_class(found)
        detected = None
        if self.config.detection_layers:
            found, detected = self.detection(found, logits, centres, tokens, features.memory)
            logits = detected.logits[-1]
            centres = inverse_sigmoid(detected.boxes[-1, ..., :2].detach())
        # Tokens that are not usable may be chosen all the same, as published.
        best = logits.amax(-1).topk(min(self.config.instances, logits.shape[1])).indices

        def of_best(values: Tensor) -> Tensor:
            values = values.expand(len(best), -1, -1)
            return values.gather(1, best[..., None].expand(-1, -1, values.shape[-1]))

        chosen = of_best(found)
        # The published code finds the poses of all tokens; these are the only ones that count.
        deltas = to_float32(self.proposal_pose(chosen)).view(*chosen.shape[:2], -1, 2)
        keypoints = (deltas + of_best(centres)[:, :, None]).sigmoid()
        return chosen, to_float32(of_best(logits)), keypoints, token_logits, detected

    def initial_queries(self, chosen: Tensor) -> Tensor:
        """Return the content of the queries (B, N, T, C) of chosen tokens (Sec. 3.2)."""
        parts = []
        if self.config.has_instance:
            own = self.instance_embedding.expand(*chosen.shape[:2], 1, -1)
            # Alone, it has to find the keypoints too, and takes over what their queries start from.
            parts.append(own if self.config.has_keypoints else own + chosen[:, :, None])
        if self.config.has_keypoints:
            parts.append(self.keypoint_embedding + chosen[:, :, None])
        return torch.cat(parts, 2)

    def with_centre(self, keypoints: Tensor) -> Tensor:
        """Return what each query looks around (B, N, T, 2): a keypoint, or the mean of them."""
        centre = keypoints.mean(2, keepdim=True)
        if not self.config.has_keypoints:
            return centre
        return torch.cat([centre, keypoints], 2) if self.config.has_instance else keypoints

    def positions(self, keypoints: Tensor, features: GroupPoseFeatures) -> Tensor:
        """Return the position parts of the queries (B, N, T, C); the instance query has none."""
        alone = not self.config.has_keypoints
        places = keypoints.mean(2, keepdim=True) if alone else keypoints
        # As published, shares of the finest map, whose padding counts.
        scaled = features.tokens.on_every_level(places)[..., 0, :]
        encoded = point_encoding(scaled, self.config.channels).to(features.memory.dtype)
        found: Tensor = self.position_head(encoded)
        return found if alone else F.pad(found, (0, 0, int(self.config.has_instance), 0))

    def scored(self, layer: int, queries: Tensor) -> Tensor:
        """Return the logits (B, N, 2) of a layer's queries."""
        if self.config.score_from == "instance":
            own = queries[:, :, 0]
        else:
            own = queries[:, :, int(self.config.has_instance) :].mean(2)
        logits: Tensor = self.class_heads[layer](own)
        return to_float32(logits)

    def refined(self, layer: int, queries: Tensor, references: Tensor) -> Tensor:
        """Return the keypoints (B, N, K, 2) that a layer's queries move from the references."""
        own = queries[:, :, int(self.config.queries == "instance and keypoint") :]
        deltas: Tensor = self.pose_heads[layer](own)
        moved = inverse_sigmoid(references) + to_float32(deltas).view_as(references)
        return moved.sigmoid()

    def merged_outputs(self, batches: Sequence[Batch], inference: Inference) -> GroupPoseOutputs:
        """Return the people of all views; the paper shows an image once, and merges nothing."""
        found: list[GroupPoseOutputs] = []
        for batch in batches:
            found.append(self(batch.images, batch.padding))
            if inference.flip:
                images = mirrored_images(batch)
                found.append(self._mirrored_back(self(images, batch.padding), batch))
        if len(found) == 1:
            return found[0]
        return GroupPoseOutputs(
            logits=torch.cat([one.logits for one in found], 2),
            keypoints=torch.cat([one.keypoints for one in found], 2),
            proposal_logits=torch.cat([one.proposal_logits for one in found], 1),
            proposal_keypoints=torch.cat([one.proposal_keypoints for one in found], 1),
            views=tuple(view for one in found for view in one.views),
        )

    def _mirrored_back(self, outputs: GroupPoseOutputs, batch: Batch) -> GroupPoseOutputs:
        """Return what was found on mirror images, where it is on the images."""
        order = list(self.skeleton.flip_index)
        # Pixel x of an image lies at w - 1 - x of its mirror image.
        edge = (1 - 1 / batch.geometry.sizes[:, 0])[:, None, None].to(outputs.keypoints)

        def back(keypoints: Tensor) -> Tensor:  # (..., B, N, K, 2)
            x, y = keypoints[..., order, :].unbind(-1)
            return torch.stack([edge - x, y], -1)

        return replace(
            outputs,
            keypoints=back(outputs.keypoints),
            proposal_keypoints=back(outputs.proposal_keypoints),
            views=tuple(replace(view, mirrored=True) for view in outputs.views),
        )

    def targets(self, batch: Batch) -> PoseSets:
        keypoints, visible, area, boxes = [], [], [], []
        for poses, size in zip(batch.poses, batch.geometry.sizes, strict=True):
            labelled = poses[(poses.visibility > 0).any(1)]
            keypoints.append((labelled.keypoints / size).float())
            visible.append(labelled.visibility > 0)
            area.append((labelled.area / size.prod()).float())
            low, high = labelled.boxes[:, 0], labelled.boxes[:, 3]
            boxes.append(torch.cat([(low + high) / 2 / size, (high - low) / size], 1).float())
        return PoseSets(keypoints, visible, area, boxes)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return self.loss_terms(batch.images, batch.padding, self.targets(batch))

    def loss_terms(
        self, images: Tensor, padding: Tensor | None, targets: PoseSets
    ) -> dict[str, Tensor]:
        """Return the last layer's terms, and the sums of the layers before and of the encoder's."""
        outputs: GroupPoseOutputs = self(images, padding)
        with torch.autocast(images.device.type, enabled=False):
            return self._terms(outputs, targets)

    def _terms(self, outputs: GroupPoseOutputs, targets: PoseSets) -> dict[str, Tensor]:
        sigmas = torch.tensor(self.skeleton.sigmas, device=outputs.logits.device)
        logits = torch.cat([outputs.proposal_logits[None], outputs.logits])
        keypoints = torch.cat([outputs.proposal_keypoints[None], outputs.keypoints])
        weights = self.config.weights
        sets = set_losses(logits, keypoints, targets, sigmas, weights)
        weighted = {
            "class": weights.classes * sets.classes,
            "keypoints": weights.keypoints * sets.keypoints,
            "oks": weights.oks * sets.oks,
        }
        total = sum(weighted.values())
        assert isinstance(total, Tensor)
        terms = {name: term[-1] for name, term in weighted.items()}
        terms |= {"layers before": total[1:-1].sum(), "encoder": total[0]}
        if outputs.detected:
            people = mean_count(len(targets), outputs.logits.device)
            terms["boxes"] = box_loss(outputs.detected, targets.boxes, people)
        return terms

    def decode(self, outputs: GroupPoseOutputs, geometry: Geometry) -> list[PosePredictions]:
        return [predictions for predictions, _ in self._decode(outputs, geometry)]

    def _decode(
        self, outputs: GroupPoseOutputs, geometry: Geometry
    ) -> list[tuple[PosePredictions, Tensor]]:
        """Return each image's people, and which of the N predicted ones they are."""
        decoded = []
        views = max(len(outputs.views), 1)
        for logits, keypoints, size, to_image in zip(
            outputs.logits[-1],
            outputs.keypoints[-1],
            geometry.sizes,
            geometry.to_image,
            strict=True,
        ):
            scores, labels, chosen = best_poses(logits, views)
            # Nobody's score is 0 but that of ideal outputs' spare queries.
            is_person = (labels == PERSON) & (scores > 0)
            scores, chosen = scores[is_person], chosen[is_person]
            pixels = keypoints[chosen] * size.to(keypoints)
            pixels = apply(pixels, to_image.to(keypoints))
            if views > 1:
                sigmas = torch.tensor(self.skeleton.sigmas).to(pixels)
                keep = oks_nms(pixels, scores, sigmas, SAME_PERSON)[:POSES_KEPT]
                pixels, scores, chosen = pixels[keep], scores[keep], chosen[keep]
            certain = torch.full_like(pixels[..., 0], VISIBILITY)
            decoded.append((PosePredictions(pixels, certain, scores), chosen))
        return decoded


def proposal_centres(tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Return which tokens may propose a person (B, S), and the logits of their centres (B, S, 2).

    Those that may not, on padding and at the border, have infinite ones.
    """
    centres = tokens.centres
    usable = ((centres > BORDER) & (centres < 1 - BORDER)).all(-1)
    if tokens.padding is not None:
        usable = usable & ~tokens.padding
    return usable, centres.logit().masked_fill(~usable[..., None], torch.inf)


def _backbone(
    config: GroupPoseConfig, *, pretrained: bool = False
) -> ResNetBackbone | SwinBackbone:
    if config.backbone in SWIN_WEIGHTS:
        return SwinBackbone(config.backbone, pretrained=pretrained)
    return ResNetBackbone(config.backbone, frozen=config.frozen_backbone, pretrained=pretrained)


def _projections(channels: Sequence[int], width: int) -> nn.ModuleList:
    """Return what brings each map to `width` channels; the last makes the fourth level."""
    convolutions = [nn.Conv2d(own, width, 1) for own in channels]
    convolutions.append(nn.Conv2d(channels[-1], width, 3, stride=2, padding=1))
    for convolution in convolutions:
        nn.init.xavier_uniform_(convolution.weight)
        assert convolution.bias is not None
        nn.init.zeros_(convolution.bias)
    return nn.ModuleList(nn.Sequential(c, nn.GroupNorm(32, width)) for c in convolutions)


# --------------------------------------------------------------------------------------- decoding


def best_poses(logits: Tensor, views: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores, labels and queries of each view's best entries of (N, 2) logits, best first.

    As published, a query may come twice, for a person and for label 0, which is not one.
    """
    scores, entries = logits.sigmoid().flatten().sort(descending=True, stable=True)
    kept = entries[: views * POSES_KEPT]
    return scores[: len(kept)], kept % 2, kept // 2
