"""Group Pose: end-to-end pose estimation with group self-attentions (Liu et al., ICCV 2023).

A deformable encoder refines a feature pyramid; its best tokens are proposals of people. Each
person has K keypoint queries, which regress one keypoint each, and an instance query, which scores
the pose. In every decoder layer the queries of one person attend to one another, then those of one
type across people. Predictions are a set without suppression. Follows the published code where it
and the paper differ; docs/group_pose.md lists where.

Shapes: B images, N predicted people of an image (the paper's instances), K keypoints, T queries of
a person: the instance query, then the keypoint queries. C channels, S tokens of the pyramid, D
decoder layers. Keypoints are x, y as shares of the image without padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posebench.layers.deformable import DeformableEncoder
from posebench.layers.precision import no_autocast, to_float32
from posebench.layers.proposals import best_tokens, proposal_centres, select
from posebench.layers.pyramid import (
    COMPUTED_TENSORS,
    LEVELS,
    PUBLISHED_NAMES,
    EncodedPyramid,
    build_backbone,
    build_projections,
)
from posebench.layers.transformer import (
    MLP,
    class_head,
    inverse_sigmoid,
    point_encoding,
    refine_references,
    zero_init_head,
)
from posebench.models.group_pose.decoder import DecoderLayer
from posebench.models.group_pose.decoding import (
    GroupPoseOutputs,
    View,
    mirror_back,
)
from posebench.models.group_pose.detection import DetectedBoxes, DetectionDecoder
from posebench.models.group_pose.losses import loss_terms
from posebench.models.group_pose.recipes import GroupPoseConfig
from posebench.models.keypoint_rows import Rows, of_keypoints, of_layer
from posebench.models.set_model import SetModel
from posebench.skeleton import Skeleton
from posebench.structures import Batch
from posebench.transfer import to_device


@dataclass(frozen=True)
class Proposals:
    """Selected tokens of the encoder, or detected boxes; each becomes the queries of a person."""

    features: Tensor  # (B, N, C)
    logits: Tensor  # (B, N, 2), float32
    keypoints: Tensor  # (B, N, K, 2), float32
    token_logits: Tensor  # (B, S, 2), of all tokens
    detected: DetectedBoxes | None  # None: a decoder without detection layers


class GroupPose(SetModel):
    """A backbone, a deformable encoder, and a decoder of N x T queries."""

    config: GroupPoseConfig

    people_axes: ClassVar[dict[str, int]] = {
        "logits": 2, "keypoints": 2, "proposal_logits": 1, "proposal_keypoints": 1,
    }  # fmt: skip
    published_names: ClassVar[dict[str, str]] = {
        **PUBLISHED_NAMES,
        "class_embed.": "class_heads.",
        "pose_embed.": "pose_heads.",
        "transformer.keypoint_embedding.weight": "keypoint_embedding",
        "transformer.instance_embedding.weight": "instance_embedding",
        "transformer.decoder.layers.": "decoder.",
        "transformer.decoder.half_pose_ref_point_head.": "position_head.",
        "transformer.enc_pose_embed.": "proposal_pose.",
    }
    # A second copy of the heads, and Swin's index tables, which are computed.
    ignored_checkpoint_keys: ClassVar[tuple[str, ...]] = (
        r"^transformer\.decoder\.(class|pose)_embed\.",
        COMPUTED_TENSORS,
    )

    def __init__(self, config: GroupPoseConfig, skeleton: Skeleton) -> None:
        super().__init__(config, skeleton)
        width, keypoints = config.channels, len(skeleton)
        self.backbone = build_backbone(config.backbone, frozen=config.frozen_backbone)
        self.projections = build_projections(self.backbone.channels, width)
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
        self.backbone = build_backbone(
            self.config.backbone, frozen=self.config.frozen_backbone, pretrained=True
        )

    def keypoint_rows(self) -> dict[str, Rows]:
        coordinates = of_keypoints(self.skeleton, "x", "y")
        rows: dict[str, Rows] = of_layer("proposal_pose.layers.3", coordinates)
        if self.config.has_keypoints:
            rows["keypoint_embedding"] = {0: of_keypoints(self.skeleton)}
        else:  # one head for all keypoints of a person
            for layer in range(self.config.pose_layers):
                rows.update(of_layer(f"pose_heads.{layer}.layers.2", coordinates))
        return rows

    def heads(self, features: EncodedPyramid, people: Tensor | None = None) -> GroupPoseOutputs:
        """Return the predictions; `people` is ignored, since queries need no detections."""
        proposals = self.propose(features)
        # No gradient flows from the first queries into the proposals' features and keypoints.
        queries = self.initial_queries(proposals.features.detach())
        references = before = proposals.keypoints.detach()
        path = [references]
        all_logits, all_keypoints = [], []
        positions = self.positions(references, features)
        queries = queries + positions
        for index, layer in enumerate(self.decoder):
            queries, entering = layer(queries, positions, self.query_points(references), features)
            after = self.predict_keypoints(index, queries, references)
            last = index == len(self.decoder) - 1
            if not last:
                positions = self.positions(after.detach(), features)
                # The published code adds the next layer's positions in place, before this layer's
                # heads read the queries: predictions differ from the next layer's references.
                queries = queries + positions
            if last or self.training:
                all_logits.append(self.score(index, queries))
                # From the keypoints of the layer before, with gradients: "look forward twice".
                all_keypoints.append(self.predict_keypoints(index, queries, before))
            before, references = after, after.detach()
            path.append(references)
        view = View(features.tokens, proposals.token_logits, torch.stack(path), entering)
        return GroupPoseOutputs(
            logits=torch.stack(all_logits),
            keypoints=torch.stack(all_keypoints),
            proposal_logits=proposals.logits,
            proposal_keypoints=proposals.keypoints,
            detected=proposals.detected,
            views=(view,),
        )

    def propose(self, features: EncodedPyramid) -> Proposals:
        """Return the proposals: the encoder's best tokens, or boxes detected among them."""
        tokens = features.tokens
        usable, centres = proposal_centres(tokens)
        memory = features.memory * usable[..., None].to(features.memory.dtype)
        candidates = self.proposal_features(memory)
        logits = token_logits = self.proposal_class(candidates)
        detected = None
        if self.config.detection_layers:
            candidates, detected = self.detection(
                candidates, logits, centres, tokens, features.memory
            )
            logits = detected.logits[-1]
            centres = inverse_sigmoid(detected.boxes[-1, ..., :2].detach())
        best = best_tokens(logits, self.config.instances)
        # The published code predicts the poses of all tokens; only those of the best are used.
        chosen = select(candidates, best)
        deltas = to_float32(self.proposal_pose(chosen)).view(*chosen.shape[:2], -1, 2)
        return Proposals(
            features=chosen,
            logits=to_float32(select(logits, best)),
            keypoints=(deltas + select(centres, best)[:, :, None]).sigmoid(),
            token_logits=token_logits,
            detected=detected,
        )

    def initial_queries(self, proposals: Tensor) -> Tensor:
        """Return the decoder's first queries (B, N, T, C) of proposals (B, N, C), Sec. 3.2."""
        queries = []
        if self.config.has_instance:
            instance = self.instance_embedding.expand(*proposals.shape[:2], 1, -1)
            # Without keypoint queries, it predicts the keypoints too and starts as they would.
            alone = not self.config.has_keypoints
            queries.append(instance + proposals[:, :, None] if alone else instance)
        if self.config.has_keypoints:
            queries.append(self.keypoint_embedding + proposals[:, :, None])
        return torch.cat(queries, 2)

    def query_points(self, keypoints: Tensor) -> Tensor:
        """Return the point (B, N, T, 2) around which each query samples the image.

        It is the keypoint of a keypoint query, and the mean of the keypoints of an instance query.
        """
        centre = keypoints.mean(2, keepdim=True)
        if not self.config.has_keypoints:
            return centre
        return torch.cat([centre, keypoints], 2) if self.config.has_instance else keypoints

    def positions(self, keypoints: Tensor, features: EncodedPyramid) -> Tensor:
        """Return the queries' position encodings (B, N, T, C), 0 for instance queries.

        Without keypoint queries, the instance query is encoded by the mean of its keypoints.
        """
        alone = not self.config.has_keypoints
        points = keypoints.mean(2, keepdim=True) if alone else keypoints
        # As published, shares of the finest map with its padding.
        on_map = features.tokens.on_every_level(points)[..., 0, :]
        encoded = point_encoding(on_map, self.config.channels).to(features.memory.dtype)
        encodings: Tensor = self.position_head(encoded)
        if alone:
            return encodings
        return F.pad(encodings, (0, 0, int(self.config.has_instance), 0))

    def score(self, layer: int, queries: Tensor) -> Tensor:
        """Return the logits (B, N, 2) that a layer's queries give their person, in float32."""
        if self.config.score_from == "instance":
            scored = queries[:, :, 0]
        else:
            scored = queries[:, :, int(self.config.has_instance) :].mean(2)
        return to_float32(self.class_heads[layer](scored))

    def predict_keypoints(self, layer: int, queries: Tensor, references: Tensor) -> Tensor:
        """Return the references (B, N, K, 2), moved by a layer's queries."""
        if self.config.queries == "instance and keypoint":
            queries = queries[:, :, 1:]
        return refine_references(references, self.pose_heads[layer](queries))

    def mirror_back(self, outputs: GroupPoseOutputs, batch: Batch) -> GroupPoseOutputs:
        return mirror_back(outputs, batch, self.skeleton)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        targets = self.targets(batch)
        outputs: GroupPoseOutputs = self(batch.images, batch.padding)
        [sigmas] = to_device([torch.tensor(self.skeleton.sigmas)], batch.device)
        with no_autocast(batch.images.device):
            return loss_terms(outputs, targets, sigmas, self.config.weights)
