"""ED-Pose's network against the published implementation, case by case of the fixture folder.

Its training is in `test_ed_pose_training.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_convert

from posebench.engine.weights import convert_published
from posebench.layers.deformable import DeformableAttention, around_boxes
from posebench.layers.proposals import best_tokens, proposal_centres, proposal_sides
from posebench.layers.pyramid import EncodedPyramid
from posebench.layers.sampling import gathered_samples, grid_samples, weighted_samples
from posebench.layers.set_decoding import VISIBILITY, best_poses
from posebench.layers.transformer import box_encoding, inverse_sigmoid
from posebench.models.ed_pose.decoder import Decoder, DecoderLayer, LayerSteps, pose_mask
from posebench.models.ed_pose.model import EDPose
from posebench.models.ed_pose.outputs import EDPoseOutputs
from posebench.models.ed_pose.recipes import EDPoseConfig
from posebench.structures import Geometry
from tests.parity.compare import assert_close
from tests.parity.device import CPU, DEVICE, placed, read
from tests.parity.ed_pose import (
    CHANNELS,
    build,
    gain_of,
    images_of,
    keys_of,
    load_model,
    paths,
    sizes_of,
    skeleton_of,
    tokens_of,
)
from tests.parity.fixtures import key_file

# The README's tolerances. Where values exceed ten, the tolerance is the same share of the largest
# value as there.
MODULE = {"absolute": 1e-5, "relative": 1e-6}
FORWARD = {"absolute": 1e-4, "relative": 1e-5}


def every(tensor: Tensor, stored: Tensor, first: int = 0) -> Tensor:
    """Return the channels of a tensor of which a case stores a slice, from channel `first` on."""
    return tensor[..., first :: tensor.shape[-1] // stored.shape[-1]]


# ------------------------------------------------------------------------------------------ pieces


@pytest.mark.parametrize("path", paths("*.keys.json"))
def test_every_published_tensor_has_its_place(path: Path) -> None:
    with torch.device("meta"):
        published = {n: torch.empty(shape) for n, shape in json.loads(path.read_text()).items()}
        model = build(path, published)
    found = convert_published(published, model.published_names, model.ignored_checkpoint_keys)
    own = {name: value.shape for name, value in model.state_dict().items()}
    assert own == {name: value.shape for name, value in found.items()}


@pytest.mark.parametrize("path", paths("initial_values*.npz"))
def test_initial_values(path: Path) -> None:
    case = read(path, CPU)
    torch.manual_seed(1)
    levels = max(int(name.split(".")[1]) for name in case if name.startswith("input_proj.")) + 1
    model = EDPose(EDPoseConfig(levels=max(levels, 4)), skeleton_of(17))
    found = convert_published(case, model.published_names)
    state = model.state_dict()
    assert found
    for name, value in found.items():
        torch.testing.assert_close(state[name], value)


@pytest.mark.parametrize("path", paths("msdeform_attn*.npz"))
def test_attention_around_boxes(path: Path) -> None:
    case = read(path)
    sampled = case["refbox_sampling_locations"][0, 0].numel()  # two for each head, level and point
    layer = "transformer.decoder.layers.0.cross_attn.sampling_offsets.bias"
    model = load_model(key_file(path, {layer: (sampled,)}), gain_of(case))
    attention = model.decoder.layers[0].cross_attn
    assert isinstance(attention, DeformableAttention)
    sizes, boxes = sizes_of(case), case["refbox_reference_boxes"]
    query, memory, padding = case["refbox_query"], case["memory"], case["padding_mask"]
    assert_close(tokens_of(case).on_every_level(case["refbox_boxes"]), boxes, **MODULE)
    with torch.inference_mode():
        offsets, weights = attention.offsets_and_weights(query)
        centres, offsets = around_boxes(boxes, offsets, sizes)
        cells = placed(torch.tensor([(width, height) for height, width in sizes]))[:, None]
        places = centres[:, :, None, :, None] + offsets / cells
        values = attention.project_values(memory, padding)
        assert_close(places, case["refbox_sampling_locations"], **MODULE)
        assert_close(weights, case["refbox_attention_weights"], **MODULE)
        for sample in (weighted_samples, gathered_samples, grid_samples):
            core = sample(values, sizes, centres, offsets, weights)
            assert_close(core, case["refbox_core_output"], **MODULE)
        output = attention(query, boxes, memory, sizes, padding)
        assert_close(output, case["refbox_output"], **MODULE)


@pytest.mark.parametrize("path", paths("proposals_and_encodings*.npz"))
def test_proposals_and_encodings(path: Path) -> None:
    case = read(path)
    tokens = tokens_of(case)
    usable, centres = proposal_centres(tokens)
    assert_close(case["memory"] * usable[..., None], case["output_memory"], 1e-6)
    sides = proposal_sides(tokens).masked_fill(~usable[..., None], torch.inf)
    boxes = torch.cat([centres, sides], -1)
    assert_close(boxes, case["output_proposals"], **MODULE)
    assert_close(boxes.sigmoid(), case["output_proposals_sigmoid"], **MODULE)
    encoded = box_encoding(case["sine_boxes"], case["sine_embedding"].shape[-1] // 2)
    assert_close(encoded, case["sine_embedding"], **MODULE)
    assert_close(inverse_sigmoid(case["inverse_sigmoid_in"]), case["inverse_sigmoid_out"], **MODULE)


@pytest.mark.parametrize("path", paths("attention_mask*.npz"))
def test_attention_masks(path: Path) -> None:
    for name, forbidden in read(path).items():
        keypoints = int("".join(filter(str.isdigit, name.split("_")[1])))
        people = len(forbidden) // (keypoints + 1)
        assert pose_mask(people, keypoints, DEVICE).equal(~forbidden)


def layer_values(layer: DecoderLayer, case: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Return what a decoder layer computes from a case's inputs, by the case's names."""

    def swapped(name: str) -> Tensor:  # (queries, B, ...) -> (B, queries, ...)
        return case[f"{kind}_{name}"].transpose(0, 1)

    queries, positions, boxes = (swapped(name) for name in ("tgt", "query_pos", "reference_boxes"))
    mask = None
    if f"{kind}_self_attn_mask" in case:
        mask = ~case[f"{kind}_self_attn_mask"]
    tokens = tokens_of(case)
    features = EncodedPyramid(tokens, tokens.values)
    with torch.inference_mode():
        attended = layer.self_attn(queries, mask=mask, positions=positions)
        after_self = layer.norm2(queries + attended)
        crossed = layer.attend_image(after_self + positions, boxes, features)
        output, entering = layer(queries, positions, boxes, features, mask)
    assert_close(entering, after_self + positions, **MODULE)
    computed = {
        "self_attn_output": attended,
        "after_self_norm": after_self,
        "cross_attn_output": crossed,
        "after_cross_norm": layer.norm1(after_self + crossed),
        "output": output,
    }
    return {f"{kind}_{name}": tensor.detach().transpose(0, 1) for name, tensor in computed.items()}


@pytest.mark.parametrize("path", paths("decoder_layer*.npz"))
@pytest.mark.parametrize(("kind", "number"), [("box", 0), ("pose", 2)])
def test_decoder_layer(path: Path, kind: str, number: int) -> None:
    case = read(path)
    keys = key_file(path, {"transformer.level_embed": (len(case["spatial_shapes"]), CHANNELS)})
    layer = load_model(keys, gain_of(case)).decoder.layers[number]
    assert isinstance(layer, DecoderLayer)
    for name, computed in layer_values(layer, case, kind).items():
        assert_close(computed, case[name], **MODULE)


@pytest.mark.parametrize("path", [p for p in paths("decoder_*.npz") if "layer" not in p.id])
def test_decoder(path: Path) -> None:
    case = read(path)
    people = int(case["num_group"])
    keypoints = case["self_attn_mask"].shape[0] // people - 1
    keys = keys_of(path, keypoints, len(case["spatial_shapes"]))
    decoder = load_model(keys, gain_of(case), people=people).decoder
    tokens = tokens_of(case)
    features = EncodedPyramid(tokens, tokens.values)
    boxes = case["refpoints_logit"].sigmoid()
    with torch.inference_mode():
        steps, _ = decoder(case["tgt"], boxes, features)
        _, selected, content = selection(decoder, steps)
        assert selected.equal(case["human_topk_indices"])
        assert_close(every(content, case["expanded_content"]), case["expanded_content"], **FORWARD)
        for number, step in enumerate(steps):
            positions = positions_of(decoder, step, features)
            for name, found, first in (
                ("query_pos", positions, 0),
                ("hidden", step.queries, 0),
                ("hidden_normed", decoder.norm(step.queries), 0),
            ):
                expected = case[f"{name}_{number}"]
                assert_close(every(found, expected, first), expected, **FORWARD)
    assert_close(steps[0].after, case["layer0_reference_boxes"], **FORWARD)
    posed = steps[decoder.box_layers :]
    references = torch.stack([posed[0].before, *(step.after for step in posed)])
    assert_close(references, case["layer_reference_boxes"], **FORWARD)
    assert pose_mask(people, keypoints, boxes.device).equal(~case["self_attn_mask"])


def selection(decoder: Decoder, steps: Sequence[LayerSteps]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logits (B, M, 2) that people are selected by, who they are, and their queries."""
    last = steps[decoder.box_layers - 1]
    logits = decoder.class_heads[decoder.box_layers - 1](last.queries)
    content, references = decoder.expand(last.queries, last.after, 0)
    torch.testing.assert_close(references, steps[decoder.box_layers].before)
    return logits, best_tokens(logits, decoder.people), content


def positions_of(decoder: Decoder, step: LayerSteps, features: EncodedPyramid) -> Tensor:
    on_finest = features.tokens.on_every_level(step.before)[..., 0, :]
    return decoder.positions(on_finest, step.queries.dtype)


# ----------------------------------------------------------------------------------------- forward


@pytest.mark.parametrize("path", paths("backbone_*.npz"))
def test_backbone(path: Path) -> None:
    case = read(path)
    images, _ = images_of(case)
    with torch.inference_mode():
        maps = load_model(key_file(path, {}), gain_of(case)).backbone(images)
    assert_maps(maps, case)
    for number, found in zip(range(6 - len(maps), 6), maps, strict=True):
        means = case.get(f"channel_means_c{number}")
        if means is not None:
            step = found.shape[1] // means.shape[1]
            assert_close(found.mean((2, 3))[:, ::step], means, relative=1e-4)


def assert_maps(maps: Sequence[Tensor], case: dict[str, Tensor]) -> None:
    """Compare the first channels of a backbone's maps, of which c5 is the last."""
    for number, found in zip(range(6 - len(maps), 6), maps, strict=True):
        slice_ = case.get(f"backbone_c{number}_slice")
        if slice_ is not None:
            assert_close(found[:, : slice_.shape[1]], slice_, relative=1e-4)


@pytest.mark.parametrize("path", paths("forward_*_encoder.npz"))
@torch.no_grad()
def test_forward(path: Path) -> None:
    encoder = read(path)
    case = read(path.with_name(path.name.replace("_encoder", "_decoder")))
    keys = keys_of(path, case["pose_pred_keypoints"].shape[-1] // 3, len(encoder["spatial_shapes"]))
    queries, people = int(case["num_queries"]), int(case["num_group"])
    model = load_model(keys, gain_of(encoder), queries, people)
    images, padding = images_of(encoder)
    maps = model.backbone(images)
    tokens = model.tokens(maps, padding)
    features = EncodedPyramid(tokens, model.encoder(tokens))
    assert_maps(maps, encoder)
    assert_encoded(model, features, encoder)
    proposals = model.propose(features)
    steps, layers = model.decoder(proposals.features, proposals.boxes, features, every_layer=True)
    logits, selected, content = selection(model.decoder, steps)
    # Box queries in the order of their tokens: neighbours in the order of scores may be equal.
    tokens_taken = best_tokens(proposals.token_logits, queries)
    order, expected_order = tokens_taken.argsort(), case["topk_indices"].argsort()

    def ours(tensor: Tensor, stored: Tensor, first: int = 0) -> Tensor:
        return every(by_token(tensor, order), stored, first)

    assert tokens_taken.sort().values.equal(case["topk_indices"].sort().values)
    boxed = model.config.box_layers
    of_steps = steps[:boxed]
    normed = [model.decoder.norm(step.queries) for step in of_steps]
    positions = [positions_of(model.decoder, step, features) for step in of_steps]
    compared = {
        "topk_logits": (proposals.logits.amax(-1, keepdim=True), 0),
        "initial_reference_boxes": (proposals.boxes, 0),
        "query_content_initial": (proposals.features, 0),
        "interm_logits": (proposals.logits, 0),
        "interm_boxes": (proposals.boxes, 0),
        "box_layer_query_pos": (torch.stack(positions), 0),
        "box_layer_hidden": (torch.stack([step.queries for step in of_steps]), 0),
        "box_layer_hidden_normed": (torch.stack(normed), 16),
        "layer0_reference_boxes": (steps[0].after, 0),
        "human_class_logits": (logits, 0),
        "box_pred_logits": (torch.stack([one.logits for one in layers[:boxed]]), 0),
        "box_pred_boxes": (torch.stack([one.boxes for one in layers[:boxed]]), 0),
    }
    for name, (found, first) in compared.items():
        stored = case[name][..., None] if name == "topk_logits" else case[name]
        assert_close(ours(found, stored, first), by_token(stored, expected_order), **FORWARD)
    expected = case["topk_indices"].gather(1, case["human_topk_indices"])
    assert tokens_taken.gather(1, selected).equal(expected)
    chosen = logits.amax(-1).gather(1, selected)
    assert_close(chosen, case["human_topk_logits"], **FORWARD)
    posed = steps[boxed:]
    references = [posed[0].before, *(step.after for step in posed)]
    positions = [positions_of(model.decoder, step, features) for step in posed]
    for name, found in (
        ("expanded_reference_boxes", posed[0].before),
        ("pose_layer_reference_boxes", torch.stack(references)),
        ("expanded_content", content),
        ("pose_layer_query_pos", torch.stack(positions)),
        ("pose_layer_hidden", torch.stack([step.queries for step in posed])),
        ("pose_pred_logits", torch.stack([one.logits for one in layers[boxed:]])),
        ("pose_pred_boxes", torch.stack([one.boxes for one in layers[boxed:]])),
        ("pose_pred_keypoints", torch.stack([one.keypoints.flatten(2) for one in layers[boxed:]])),
    ):
        stored = case[name]
        first_queries = found[..., : stored.shape[-2], :]
        if name == "pose_pred_keypoints":
            stored = stored[..., : found.shape[-1]]
        assert_close(every(first_queries, stored), stored, **FORWARD)
    outputs = model.heads(features)
    assert_close(outputs.logits[0], layers[-1].logits, **MODULE)
    assert_close(outputs.keypoints[0], layers[-1].keypoints, **MODULE)
    names = ("scores", "labels", "boxes", "keypoints")
    assert_poses(
        model, outputs, case["target_sizes_hw"], {name: case[f"post_{name}"] for name in names}
    )


def by_token(tensor: Tensor, order: Tensor) -> Tensor:
    """Return what box queries have (..., B, M, C) in another order (B, M)."""
    index = order[..., None].expand(*order.shape, tensor.shape[-1])
    return tensor.gather(-2, index.expand(tensor.shape))


def assert_encoded(model: EDPose, features: EncodedPyramid, case: dict[str, Tensor]) -> None:
    """Compare the pyramid before and after the encoder, and the proposals' features."""
    tokens = features.tokens
    count = len(case["valid_ratios"])
    levels = range(len(tokens.sizes))
    masks = torch.cat([case[f"mask_level_{level}"].flatten(1) for level in levels], 1)
    assert masks.equal(torch.zeros_like(masks) if tokens.padding is None else tokens.padding)
    assert tokens.sizes == sizes_of(case)
    assert_close(tokens.valid.expand(count, -1, -1), case["valid_ratios"], 1e-6)
    areas = placed(torch.tensor([height * width for height, width in tokens.sizes]))
    embedded = model.level_embedding.repeat_interleave(areas, 0)
    positions = (tokens.positions - embedded).expand(count, -1, -1)
    for found, name in (
        (tokens.values, "src_flat"),
        (positions, "pos_flat_no_level"),
        (features.memory, "memory"),
    ):
        assert_close(every(found, case[name]), case[name], **FORWARD)
    usable, _ = proposal_centres(tokens)
    candidates = model.proposal_features(features.memory * usable[..., None])
    logits, deltas = model.proposal_class(candidates), model.proposal_box(candidates)
    first = case["enc_output_slice"]
    assert_close(candidates[..., : first.shape[-1]], first, **FORWARD)
    assert_close(logits, case["enc_class_logits"], **FORWARD)
    assert_close(deltas, case["enc_box_delta"], **FORWARD)


def assert_poses(
    model: EDPose, outputs: EDPoseOutputs, sizes_hw: Tensor, expected: dict[str, Tensor]
) -> None:
    """Compare decoded people with the published ones; equal scores may come in any order."""
    keypoints = len(model.skeleton)
    expected = {name: values.cpu() for name, values in expected.items()}
    sizes = sizes_hw.cpu().flip(1)
    identity = torch.eye(2, 3, dtype=torch.float64).expand(len(sizes), 2, 3)
    geometry = Geometry(identity, torch.zeros(len(sizes), dtype=torch.bool), sizes)
    people = model.decode(outputs, geometry)
    for image, found in enumerate(people):
        scores, labels, chosen = best_poses(outputs.logits[-1, image].cpu())
        assert_close(scores, expected["scores"][image], 1e-5)
        assert labels.sort().values.equal(expected["labels"][image].sort().values)
        person = expected["labels"][image] == 1
        boxes = outputs.boxes[-1, image].cpu()
        corners = box_convert(boxes[chosen[labels == 1]], "cxcywh", "xyxy")
        pixels = torch.cat([corners * sizes[image].repeat(2), found.keypoints.flatten(1)], 1)
        poses = expected["keypoints"][image, person].unflatten(-1, (keypoints, 3))[..., :2]
        wanted = torch.cat([expected["boxes"][image, person], poses.flatten(1)], 1)
        wanted_scores = expected["scores"][image, person]
        assert len(found) == len(wanted)
        # Of those with the same score, one at least lies where it should, both ways.
        same = (found.scores[:, None] - wanted_scores[None]).abs() < 1e-5
        apart = (pixels[:, None] - wanted[None]).abs().amax(-1)
        assert (same & (apart < 2e-2)).any(0).all()
        assert (same & (apart < 2e-2)).any(1).all()
        assert found.keypoint_scores.allclose(torch.tensor(VISIBILITY))


@pytest.mark.parametrize("path", paths("post_*.npz"))
def test_post_processing(path: Path) -> None:
    case = read(path)
    predicted = case["pred_keypoints"].unflatten(-1, (-1, 2))
    outputs = EDPoseOutputs(case["pred_logits"][None], case["pred_boxes"][None], predicted[None])
    with torch.device("meta"):
        model = EDPose(EDPoseConfig(), skeleton_of(predicted.shape[-2]))
    assert_poses(model, outputs, case["target_sizes_hw"], case)
