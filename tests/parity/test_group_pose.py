"""Group Pose against the published implementation, case by case of the fixture folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from posebench.engine.weights import convert_published
from posebench.layers.deformable import DeformableAttention, Tokens
from posebench.layers.matching import match
from posebench.layers.pose_sets import PoseSets
from posebench.layers.proposals import proposal_centres
from posebench.layers.pyramid import MAP_TEMPERATURE, EncodedPyramid
from posebench.layers.sampling import gathered_samples, weighted_samples
from posebench.layers.set_decoding import VISIBILITY, best_poses
from posebench.layers.transformer import inverse_sigmoid, map_angles, point_encoding, waves
from posebench.models.group_pose.decoder import DecoderLayer
from posebench.models.group_pose.decoding import GroupPoseOutputs
from posebench.models.group_pose.losses import loss_terms, pose_costs, set_losses
from posebench.models.group_pose.model import GroupPose
from posebench.models.group_pose.recipes import PUBLISHED, GroupPoseConfig
from posebench.skeleton import COCO, CROWDPOSE, MPII, Skeleton
from posebench.structures import Geometry
from tests.parity.compare import FLOAT32, assert_close
from tests.parity.device import CPU, DEVICE, placed, read
from tests.parity.fixtures import cases, first_64, key_file, stored_tensors
from tests.parity.reference import reference_state_dict

# The README's tolerances. Where values exceed ten (a hundred in a whole training step), the
# tolerance is the same share of the largest value as there.
MODULE = {"absolute": 1e-5, "relative": 1e-6}
FORWARD = {"absolute": 1e-4, "relative": 1e-5}
TRAINING = {"absolute": 1e-3, "relative": 1e-5}
# Losses are sums: in totals of about fifty, float32 has steps of 4e-6.
LOSSES = {"absolute": 1e-4, "relative": 2e-6}
COSTS = {"absolute": 1e-4, "relative": FLOAT32}


def skeleton_of(num_keypoints: int) -> Skeleton:
    return {len(skeleton): skeleton for skeleton in (COCO, CROWDPOSE, MPII)}[num_keypoints]


def paths(pattern: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in cases("grouppose", pattern)]


def keys_of(path: Path, predicted: Tensor) -> Path:
    """Return the key file of a case's network, which predicted the poses (..., 3 K)."""
    with np.load(path) as case:
        known = stored_tensors(case)
    known["transformer.enc_pose_embed.layers.3.bias"] = (predicted.shape[-1] // 3 * 2,)
    return key_file(path, known, first_64)


def gain_of(case: dict[str, Tensor]) -> float:
    return float(case.get("weight_gain", 1.0))


@lru_cache(maxsize=2)
def published_weights(keys: Path, gain: float = 1.0) -> dict[str, Tensor]:
    return reference_state_dict(keys, gain)


@lru_cache(maxsize=2)
def load_model(keys: Path, gain: float = 1.0, instances: int = 100) -> GroupPose:
    published = published_weights(keys, gain)
    backbone, _ = keys.name.removesuffix(".keys.json").rsplit("_", 1)
    skeleton = skeleton_of(len(published["transformer.keypoint_embedding.weight"]))
    model = GroupPose(GroupPoseConfig(backbone=backbone, instances=instances), skeleton)
    model.load_state_dict(
        convert_published(published, model.published_names, model.ignored_checkpoint_keys)
    )
    return placed(model.eval())


def isolated(path: Path, case: dict[str, Tensor], part: str) -> tuple[GroupPose, int]:
    """Return a network and the number of its layer that an isolated case is about.

    The reference weights of a layer are the same in every network that has it.
    """
    layer = int(case.get(f"{part}_layer", 0))
    keys = key_file(path, {f"transformer.{part}.layers.{layer}.norm1.weight": None})
    return load_model(keys, gain_of(case)), layer


def sizes_of(case: dict[str, Tensor]) -> tuple[tuple[int, int], ...]:
    return tuple((height, width) for height, width in case["spatial_shapes"].tolist())


def extents_of(padding: Tensor, sizes: tuple[tuple[int, int], ...]) -> Tensor:
    """Return (B, L, 2) width and height without padding of flattened masks (B, S)."""
    inside = (~padding).split([height * width for height, width in sizes], 1)
    counts = []
    for own, (height, width) in zip(inside, sizes, strict=True):
        grid = own.view(-1, height, width)
        counts.append(torch.stack([grid[:, 0].sum(1), grid[:, :, 0].sum(1)], -1))
    return torch.stack(counts, 1).float()


def points_of(references: Tensor) -> Tensor:
    """Return (B, queries, L, 2) of (B, N, L, 2 T): a person's queries one after the other."""
    return references.unflatten(-1, (-1, 2)).transpose(2, 3).flatten(1, 2)


# ------------------------------------------------------------------------------------------ pieces


@pytest.mark.parametrize("path", paths("*.keys.json"))
def test_every_published_tensor_has_its_place(path: Path) -> None:
    load_model(path)


@pytest.mark.parametrize("path", paths("initial_values*.npz"))
def test_initial_values(path: Path) -> None:
    case = read(path, CPU)
    torch.manual_seed(1)
    outputs = case["transformer.enc_pose_embed.layers.3.bias"]
    model = GroupPose(GroupPoseConfig(), skeleton_of(len(outputs) // 2))
    found = convert_published(case, model.published_names, ("nothing",))
    state = model.state_dict()
    assert found
    for name, value in found.items():
        torch.testing.assert_close(state[name], value)


def attention_of(path: Path, case: dict[str, Tensor], kind: str) -> DeformableAttention:
    """Return the attention of an encoder layer (`ref2d`) or of a decoder layer (`refpose`)."""
    model, layer = isolated(path, case, "encoder" if kind == "ref2d" else "decoder")
    if kind == "ref2d":
        attention = model.encoder.layers[layer].self_attn
    else:
        attention = model.decoder[layer].cross_attn
    assert isinstance(attention, DeformableAttention)
    return attention


def attentions(path: Path) -> list[str]:
    with np.load(path) as case:
        return [kind for kind in ("ref2d", "refpose") if f"{kind}_output" in case]


def attend(
    attention: DeformableAttention,
    case: dict[str, Tensor],
    kind: str,
    sample: Callable[..., Tensor] = weighted_samples,
) -> dict[str, Tensor]:
    """Return what an attention computes from a case's inputs, by the case's names."""
    sizes = sizes_of(case)
    references = case[f"{kind}_reference_points"]
    if kind == "refpose":
        references = points_of(references)
    query, memory, padding = case[f"{kind}_query"], case["memory"], case["padding_mask"]
    with torch.inference_mode():
        offsets, weights = attention.offsets_and_weights(query)
        cells = placed(torch.tensor([(width, height) for height, width in sizes]))[:, None]
        values = attention.project_values(memory, padding)
        return {
            f"{kind}_sampling_locations": references[:, :, None, :, None] + offsets / cells,
            f"{kind}_attention_weights": weights,
            f"{kind}_core_output": sample(values, sizes, references, offsets, weights),
            f"{kind}_output": attention(query, references, memory, sizes, padding),
        }


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        pytest.param(path, kind, id=f"{kind}-{path.stem}")
        for path in cases("grouppose", "msdeform_attn*.npz")
        for kind in attentions(path)
    ],
)
def test_deformable_attention(path: Path, kind: str) -> None:
    case = read(path)
    attention = attention_of(path, case, kind)
    for sample in (weighted_samples, gathered_samples):
        for name, computed in attend(attention, case, kind, sample).items():
            assert_close(computed, case[name], **MODULE)


@pytest.mark.parametrize("path", paths("msdeform_attn*.npz"))
def test_deformable_attention_has_its_gradients(path: Path) -> None:
    case = read(path)
    kind = attentions(path)[0]
    attention = attention_of(path, case, kind)
    references = case[f"{kind}_reference_points"]
    arguments = (
        case[f"{kind}_query"].requires_grad_(),
        (references if kind == "ref2d" else points_of(references)).requires_grad_(),
        case["memory"].requires_grad_(),
        sizes_of(case),
        case["padding_mask"],
    )
    output = attention(*arguments)
    assert_close(output.detach(), case[f"{kind}_output"], **MODULE)
    with torch.inference_mode():
        assert_close(attention(*arguments), output.detach(), **MODULE)


@pytest.mark.parametrize("path", paths("proposals_and_encodings*.npz"))
def test_proposals_and_encodings(path: Path) -> None:
    case = read(path)
    sizes, padding = sizes_of(case), case["padding_mask"]
    tokens = Tokens(case["memory"], case["memory"], padding, extents_of(padding, sizes), sizes)
    usable, centres = proposal_centres(tokens)
    assert_close(case["memory"] * usable[..., None], case["output_memory"], 1e-6)
    # The published proposals are boxes, of which Group Pose takes the centres alone.
    assert_close(centres, case["output_proposals"][..., :2], **MODULE)
    encoded = point_encoding(case["sine_points"], case["sine_embedding"].shape[-1])
    assert_close(encoded, case["sine_embedding"], **MODULE)
    assert_close(inverse_sigmoid(case["inverse_sigmoid_in"]), case["inverse_sigmoid_out"], **MODULE)
    ratios = case["encoder_valid_ratios"]
    whole = placed(torch.tensor([(width, height) for height, width in sizes]))
    own = Tokens(case["memory"], case["memory"], None, ratios * whole, sizes)
    assert_close(own.on_every_level(own.centres), case["encoder_reference_points"], **MODULE)
    expected = case["pos_encoding"].permute(0, 2, 3, 1)
    found = waves(map_angles(case["pos_mask"]), expected.shape[-1], MAP_TEMPERATURE)
    assert_close(found, expected, **MODULE)


def decode_layer(layer: DecoderLayer, case: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what a decoder layer computes from a case's inputs, by the case's names."""

    def swapped(tensor: Tensor) -> Tensor:  # (N, B, T, C) <-> (B, N, T, C)
        return tensor.transpose(0, 1)

    positions = torch.nn.functional.pad(swapped(case["query_pos"]), (0, 0, 1, 0))
    queries = swapped(case["tgt"]) + positions
    sizes, padding = sizes_of(case), case["padding_mask"]
    memory = case["memory"].transpose(0, 1)
    tokens = Tokens(memory, memory, padding, extents_of(padding, sizes), sizes)
    # The case's references are its own for every level, not one share of the image.
    references = points_of(swapped(case["reference_points"]))
    with torch.inference_mode():
        within = layer.within_attn(queries, axis=2)
        after = layer.within_norm(queries + within)
        attended = layer.attend_groups(queries)
        crossed = layer.attend_image(
            attended + positions, references, EncodedPyramid(tokens, memory)
        )
        computed = {
            "within_attn_output": within,
            "after_within_norm": after,
            "across_attn_output": layer.attend_across(after),
            "after_across_norm": attended,
            "after_norm1": crossed,
            "output": layer.ffn(crossed),
        }
    return {name: swapped(tensor) for name, tensor in computed.items()}


@pytest.mark.parametrize("path", paths("decoder_layer*.npz"))
def test_decoder_layer(path: Path) -> None:
    case = read(path)
    model, number = isolated(path, case, "decoder")
    layer = model.decoder[number]
    assert isinstance(layer, DecoderLayer)
    for name, computed in decode_layer(layer, case).items():
        assert_close(computed, case[name], **MODULE)


# ----------------------------------------------------------------------------------------- forward


def images_of(case: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return a case's images in one batch, and their padding."""
    images = [case[name] for name in sorted(case) if re.fullmatch(r"image_\d+", name)]
    height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
    batch = torch.zeros(len(images), 3, height, width, device=DEVICE)
    padding = torch.ones(len(images), height, width, dtype=torch.bool, device=DEVICE)
    for number, image in enumerate(images):
        batch[number, :, : image.shape[1], : image.shape[2]] = image
        padding[number, : image.shape[1], : image.shape[2]] = False
    return batch, padding if padding.any() else None


@pytest.mark.parametrize("path", paths("forward_*_encoder.npz"))
def test_forward(path: Path) -> None:
    encoder = read(path)
    decoder = read(path.with_name(path.name.replace("_encoder", "_decoder")))
    keys = keys_of(path, decoder["pred_keypoints"])
    model = load_model(keys, gain_of(encoder), decoder["topk_logits"].shape[1])
    model.training = True  # every layer's predictions; no part of the network is told
    images, padding = images_of(encoder)
    with torch.inference_mode():
        features = model.features(images, padding)
        tokens = features.tokens
        maps = model.backbone(images)
        outputs = model.heads(features)
    model.training = False
    for level, found in enumerate(maps, start=3):
        slice_ = encoder[f"backbone_c{level}_slice"]
        assert_close(found[:, : slice_.shape[1]], slice_, relative=1e-4)
    masks = torch.cat([encoder[f"mask_level_{level}"].flatten(1) for level in range(4)], 1)
    assert masks.equal(torch.zeros_like(masks) if tokens.padding is None else tokens.padding)
    assert tokens.sizes == sizes_of(encoder)
    count = len(images)
    assert_close(tokens.valid.expand(count, -1, -1), encoder["valid_ratios"], 1e-6)
    areas = placed(torch.tensor([height * width for height, width in tokens.sizes]))
    levels = model.level_embedding.repeat_interleave(areas, 0)
    positions = (tokens.positions - levels).detach().expand(count, -1, -1)
    for found, name in (
        (tokens.values, "src_flat"),
        (positions, "pos_flat_no_level"),
        (features.memory, "memory"),
    ):
        step = found.shape[-1] // encoder[name].shape[-1]
        assert_close(found[..., ::step], encoder[name], **FORWARD)
    assert_close(outputs.proposal_logits.amax(-1), decoder["topk_logits"], **FORWARD)
    assert_close(outputs.proposal_logits, decoder["interm_logits"], **FORWARD)
    assert_close(outputs.proposal_keypoints.flatten(2), decoder["interm_keypoints"], **FORWARD)
    initial = decoder["initial_reference_points"]
    assert_close(model.query_points(outputs.proposal_keypoints).flatten(2), initial, **FORWARD)
    assert_close(outputs.logits, decoder["pred_logits"], **FORWARD)
    found = outputs.keypoints.flatten(3)
    assert_close(found, decoder["pred_keypoints"][..., : found.shape[-1]], **FORWARD)
    published = decoder["pred_keypoints"][..., found.shape[-1] :]
    assert published.allclose(torch.full_like(published, VISIBILITY))
    expected = {name: decoder[f"post_{name}"] for name in ("scores", "labels", "keypoints")}
    assert_poses(model, outputs, decoder["target_sizes_hw"], expected)


def assert_poses(
    model: GroupPose, outputs: GroupPoseOutputs, sizes_hw: Tensor, expected: dict[str, Tensor]
) -> None:
    """Compare decoded people with the published ones; equal scores may come in any order."""
    keypoints = len(model.skeleton)
    expected = {name: values.cpu() for name, values in expected.items()}
    sizes = sizes_hw.cpu().flip(1)
    identity = torch.eye(2, 3, dtype=torch.float64).expand(len(sizes), 2, 3)
    geometry = Geometry(identity, torch.zeros(len(sizes), dtype=torch.bool), sizes)
    people = model.decode(outputs, geometry)
    for image, found in enumerate(people):
        scores, labels, _ = best_poses(outputs.logits[-1, image].cpu())
        assert_close(scores, expected["scores"][image], 1e-5)
        assert labels.sort().values.equal(expected["labels"][image].sort().values)
        person = expected["labels"][image] == 1
        wanted = expected["keypoints"][image, person].unflatten(-1, (keypoints, 3))[..., :2]
        wanted_scores = expected["scores"][image, person]
        assert len(found) == len(wanted)
        # Of those with the same score, one at least lies where it should, both ways.
        same = (found.scores[:, None] - wanted_scores[None]).abs() < 1e-5
        apart = (found.keypoints[:, None] - wanted[None]).abs().amax((-1, -2))
        assert (same & (apart < 2e-2)).any(0).all()
        assert (same & (apart < 2e-2)).any(1).all()
        assert found.keypoint_scores.allclose(torch.tensor(VISIBILITY))


@pytest.mark.parametrize("path", paths("post_*.npz"))
def test_post_processing(path: Path) -> None:
    case = read(path)
    keypoints = case["pred_keypoints"].shape[-1] // 3
    predicted = case["pred_keypoints"][..., : 2 * keypoints].unflatten(-1, (-1, 2))
    logits = case["pred_logits"]
    outputs = GroupPoseOutputs(logits[None], predicted[None], logits, predicted)
    with torch.device("meta"):
        model = GroupPose(GroupPoseConfig(), skeleton_of(keypoints))
    assert_poses(model, outputs, case["target_sizes_hw"], case)


# ------------------------------------------------------------------------------------------ losses


def targets_of(case: dict[str, Tensor]) -> PoseSets:
    images = range(sum(bool(re.fullmatch(r"target_\d+_area", name)) for name in case))
    triples = [case[f"target_{i}_keypoints"] for i in images]
    keypoints = triples[0].shape[1] // 3
    return PoseSets(
        keypoints=[t[:, : 2 * keypoints].unflatten(-1, (-1, 2)) for t in triples],
        visible=[t[:, 2 * keypoints :] > 0 for t in triples],
        area=[case[f"target_{i}_area"] for i in images],
        boxes=[case[f"target_{i}_boxes"] for i in images],
    )


@pytest.mark.parametrize("path", paths("match_*.npz"))
def test_matching(path: Path) -> None:
    case = read(path)
    targets = targets_of(case)
    keypoints = targets.keypoints[0].shape[1]
    sigmas = placed(torch.tensor(skeleton_of(keypoints).sigmas))
    predicted = case["pred_keypoints"][..., : 2 * keypoints].unflatten(-1, (-1, 2))
    costs = pose_costs(case["pred_logits"][None], predicted[None], targets.together, sigmas)
    [matched] = match([costs], targets.counts)
    before = 0
    for image, count in enumerate(targets.counts):
        own = costs[0, before : before + count].T
        assert_close(own, case[f"cost_{image}"], **COSTS)
        here = matched.images == image
        assert matched.queries[here].equal(case[f"match_query_{image}"])
        assert (matched.people[here] - before).equal(case[f"match_target_{image}"])
        before += count


WEIGHTS = asdict(PUBLISHED)
NAMES = {"classes": "loss_ce", "keypoints": "loss_keypoints", "oks": "loss_oks"}


def published_terms(case: dict[str, Tensor], name: str, layers: int) -> Tensor:
    """Return a term of the encoder's predictions, then of each layer's; the last has no number."""
    suffixes = ["_interm", *(f"_{layer}" for layer in range(layers - 1)), ""]
    return torch.stack([case[f"loss/{NAMES[name]}{suffix}"] for suffix in suffixes])


@pytest.mark.parametrize("path", [p for p in paths("loss_*.npz") if "full_model" not in p.id])
def test_losses_and_their_gradients(path: Path) -> None:
    case = read(path)
    inputs = [
        case[name].requires_grad_()
        for name in ("pred_logits", "pred_keypoints", "interm_logits", "interm_keypoints")
    ]
    logits, keypoints, first_logits, first_keypoints = inputs
    num_keypoints = keypoints.shape[-1] // 2
    sigmas = placed(torch.tensor(skeleton_of(num_keypoints).sigmas))
    found = set_losses(
        torch.cat([first_logits[None], logits]),
        torch.cat([first_keypoints[None], keypoints]).unflatten(-1, (-1, 2)),
        targets_of(case),
        sigmas,
    )
    total = torch.zeros((), device=DEVICE)
    for name, weight in WEIGHTS.items():
        assert_close(
            getattr(found, name).detach(), published_terms(case, name, len(logits)), **LOSSES
        )
        assert float(case[f"weight/{NAMES[name]}"]) == weight
        total = total + weight * getattr(found, name).sum()
    assert_close(total.detach(), case["total_weighted"], **LOSSES)
    total.backward()
    for tensor, name in zip(
        inputs, ("logits", "keypoints", "interm_logits", "interm_keypoints"), strict=True
    ):
        assert tensor.grad is not None
        expected = case[f"grad_{name}"]
        assert_close(tensor.grad, expected, absolute=1e-7, relative=1e-2)


@pytest.mark.parametrize("path", paths("loss_full_model_*.npz"))
def test_a_whole_training_step(path: Path) -> None:
    case = read(path)
    keys = keys_of(path, case["pred_keypoints"])
    model = load_model(keys, gain_of(case), case["pred_logits"].shape[1])
    model.zero_grad()
    images, padding = images_of(case)
    targets = targets_of(case)
    model.training = True  # every layer's predictions; nothing is dropped at random
    outputs = model(images, padding)
    model.training = False
    sigmas = placed(torch.tensor(model.skeleton.sigmas))
    sets = set_losses(
        torch.cat([outputs.proposal_logits[None], outputs.logits]),
        torch.cat([outputs.proposal_keypoints[None], outputs.keypoints]),
        targets,
        sigmas,
    )
    for name in WEIGHTS:
        expected = published_terms(case, name, len(outputs.logits))
        assert_close(getattr(sets, name).detach(), expected, **TRAINING)
    assert_close(outputs.logits[-1].detach(), case["pred_logits"], **TRAINING)
    terms = loss_terms(outputs, targets, sigmas, model.config.weights)
    total = torch.stack(list(terms.values())).sum()
    assert_close(total.detach(), case["total_weighted"], **TRAINING)
    total.backward()
    parameters = dict(model.named_parameters())
    with np.load(path) as raw:
        names = [str(name) for name in raw["param_names"]]
    norms = case["param_grad_norms"]
    largest = float(norms.max())
    for name, norm in zip(names, norms.tolist(), strict=True):
        gradient = parameters[our_name(model, name)].grad
        if norm < 0:
            assert gradient is None
        else:
            assert gradient is not None
            # A norm far below the largest one is rounding's.
            assert float(gradient.norm()) == pytest.approx(norm, rel=1e-2, abs=1e-6 * largest)
    assert {our_name(model, name) for name in names} == set(parameters)
    for name, expected in case.items():
        if name.startswith("grad/"):
            gradient = parameters[our_name(model, name.removeprefix("grad/"))].grad
            assert gradient is not None
            rows = gradient.reshape(len(gradient), -1) if expected.dim() > 1 else gradient
            found = rows[tuple(slice(side) for side in expected.shape)]
            assert_close(found, expected, relative=1e-2)
    model.zero_grad()


def our_name(model: GroupPose, published: str) -> str:
    """Return our name of a published parameter; the heads' gradients are under the decoder."""
    plain = re.sub(r"^transformer\.decoder\.(class|pose)_embed", r"\1_embed", published)
    [name] = convert_published({plain: torch.empty(0)}, model.published_names)
    return name
