"""ED-Pose's training against the published implementation, case by case of the fixture folder."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from posebench.layers.matching import match
from posebench.layers.pose_sets import PoseSets
from posebench.models.ed_pose.denoising import Draws, NoisyPeople, noisy_people
from posebench.models.ed_pose.losses import (
    box_losses,
    keypoint_losses,
    loss_terms,
    matches,
    noise_losses,
)
from posebench.models.ed_pose.matching import detection_costs, pose_costs
from posebench.models.ed_pose.outputs import Detections, EDPoseOutputs, NoiseQueries, with_noise
from posebench.models.ed_pose.recipes import PUBLISHED
from tests.parity.compare import FLOAT32, assert_close
from tests.parity.device import DEVICE, placed, read
from tests.parity.ed_pose import (
    gain_of,
    images_of,
    keys_of,
    load_model,
    our_name,
    paths,
    skeleton_of,
)
from tests.parity.fixtures import cases

# The README's tolerances.
MODULE = {"absolute": 1e-6, "relative": 1e-6}
COSTS = {"absolute": 1e-4, "relative": FLOAT32}
LOSSES = {"absolute": 1e-6, "relative": 1e-6}  # of losses in float64
TRAINING = {"absolute": 1e-3, "relative": 1e-5}
GRADIENTS = {"absolute": 1e-9, "relative": 1e-5}


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


def sigmas_of(targets: PoseSets) -> Tensor:
    return placed(torch.tensor(skeleton_of(targets.keypoints[0].shape[1]).sigmas))


# ------------------------------------------------------------------------------------------- noise


def draws_of(case: dict[str, Tensor]) -> Draws:
    """Return the recorded draws; places whose label or boxes were not drawn hold zeros."""
    uniform = case["draw_label_uniform"]
    images, queries = uniform.shape
    labels = torch.zeros(images, queries, dtype=torch.int64, device=DEVICE)
    labels[uniform < 0.5] = case["draw_new_labels"]
    nobody = torch.zeros(0, dtype=torch.int64, device=DEVICE)
    unused = torch.zeros(queries, 4, device=DEVICE)
    return Draws(
        people=[case.get(f"draw_remainder_{i}", nobody) for i in range(images)],
        boxes=torch.stack([case.get(f"draw_empty_boxes_{i}", unused) for i in range(images)]),
        label_uniform=uniform,
        labels=labels,
        box_uniform=case["draw_box_uniform"],
    )


@pytest.mark.parametrize("path", paths("denoising_*.npz"))
def test_noise_queries(path: Path) -> None:
    case = read(path)
    targets = targets_of(case)
    noisy = noisy_people(targets.boxes, draws_of(case))
    assert noisy.labels.equal(case["noisy_labels"])
    assert noisy.is_person.equal(case["known_labels"] == 1)
    assert_close(noisy.clean_boxes, case["known_boxes"])
    assert_close(noisy.boxes, case["query_box_logit"].sigmoid(), **MODULE)
    assert noisy.sees.equal(~case["mask_dn_to_dn"])


@pytest.mark.parametrize("layers", ["box", "pose"])
@pytest.mark.parametrize("path", paths("denoising_*.npz"))
def test_masks_with_noise_queries(path: Path, layers: str) -> None:
    case = read(path)
    noisy = noisy_people(targets_of(case).boxes, draws_of(case))
    queries = NoiseQueries(torch.empty(0), noisy.boxes, noisy.sees)
    sees = ~case[f"mask_{layers}_layers"]
    count = noisy.labels.shape[1]
    mask = with_noise(sees[count:, count:], queries, len(sees) - count)
    assert mask[int(case["mask_image"])].equal(sees)


# ------------------------------------------------------------------------------ matching and losses


@pytest.mark.parametrize("path", paths("match_*.npz"))
def test_matching(path: Path) -> None:
    case = read(path)
    targets = targets_of(case)
    sigmas = sigmas_of(targets)
    keypoints = case["pose_keypoints"].unflatten(-1, (-1, 2))
    people = targets.together
    boxes = detection_costs(case["box_logits"][None], case["box_boxes"][None], people)
    poses = pose_costs(case["pose_logits"][None], keypoints[None], people, sigmas)
    for kind, costs, matched in zip(
        ("box", "pose"), (boxes, poses), match([boxes, poses], targets.counts), strict=True
    ):
        before = 0
        for image, count in enumerate(targets.counts):
            own = costs[0, before : before + count].T
            assert_close(own, case[f"{kind}_cost_{image}"], **COSTS)
            here = matched.images == image
            assert matched.queries[here].equal(case[f"{kind}_match_query_{image}"])
            assert (matched.people[here] - before).equal(case[f"{kind}_match_target_{image}"])
            before += count


NAMES = {"classes": "ce", "boxes": "bbox", "iou": "giou", "keypoints": "keypoints", "oks": "oks"}
LOSS_CASES = [p for p in paths("loss_*.npz") if "full_model" not in p.id]


def suffix(layer: int, layers: int) -> str:
    """Return the end of the published name of a decoder layer's terms; the last has no number."""
    return "" if layer == layers - 1 else f"_{layer}"


def assert_terms(
    case: dict[str, Tensor],
    outputs: EDPoseOutputs,
    noisy: NoisyPeople,
    sigmas: Tensor,
    tolerance: dict[str, float],
) -> None:
    """Compare every unweighted loss of the encoder, of each layer, and of the noise queries."""
    targets = targets_of(case)
    assert outputs.detected is not None
    assert outputs.noise is not None
    by_boxes, by_keypoints = matches(outputs, targets, sigmas, PUBLISHED)
    people = max(len(targets), 1)
    layers = len(outputs.noise.logits)
    first = len(outputs.detected.logits) - 1
    numbers = [suffix(layer, layers) for layer in range(layers)]
    posed = Detections(outputs.logits, outputs.boxes)
    found = [
        (
            ["_interm", *numbers[:first]],
            "loss",
            box_losses(outputs.detected, targets, by_boxes, people),
        ),
        (numbers[first:], "loss", box_losses(posed, targets, by_keypoints, people)),
        (
            numbers[first:],
            "loss",
            keypoint_losses(outputs.keypoints, targets, by_keypoints, sigmas, people),
        ),
        (numbers, "dn_loss", noise_losses(outputs.noise, noisy)),
    ]
    compared = set()
    for suffixes, prefix, losses in found:
        for name, values in vars(losses).items():
            published = [f"{prefix}_{NAMES[name]}{end}" for end in suffixes]
            expected = torch.stack([case[f"loss/{term}"] for term in published])
            assert_close(values.detach(), expected, **tolerance)
            weight = getattr(PUBLISHED, name if prefix == "loss" else f"noise_{name}")
            for term in published:  # a whole training step has no weights beside
                assert float(case.get(f"weight/{term}", weight)) == weight
            compared.update(published)
    assert compared == {n.removeprefix("loss/") for n in case if n.startswith("loss/")}


@pytest.mark.parametrize("path", LOSS_CASES)
def test_losses_and_their_gradients(path: Path) -> None:
    case = read(path)
    targets = targets_of(case)
    inputs = {
        name.removeprefix("grad_"): case[name.removeprefix("grad_")].double().requires_grad_()
        for name in case
        if name.startswith("grad_")
    }

    def with_encoder(name: str) -> Tensor:
        return torch.cat([inputs[f"interm_{name}"][None], inputs[f"box_{name}"]])

    outputs = EDPoseOutputs(
        logits=inputs["pose_logits"],
        boxes=inputs["pose_boxes"],
        keypoints=inputs["pose_keypoints"].unflatten(-1, (-1, 2)),
        detected=Detections(with_encoder("logits"), with_encoder("boxes")),
        noise=Detections(inputs["dn_logits"], inputs["dn_boxes"]),
    )
    noisy = NoisyPeople(
        labels=case["dn_labels"],
        boxes=case["dn_target_boxes"],
        sees=torch.empty(0),
        is_person=case["dn_labels"] == 1,
        clean_boxes=case["dn_target_boxes"],
    )
    sigmas = sigmas_of(targets)
    assert_terms(case, outputs, noisy, sigmas, LOSSES)
    terms = loss_terms(outputs, targets, noisy, sigmas, PUBLISHED)
    total = torch.stack(list(terms.values())).sum()
    assert_close(total.detach(), case["total_weighted"], **LOSSES)
    total.backward()
    for name, tensor in inputs.items():
        assert tensor.grad is not None
        assert_close(tensor.grad, case[f"grad_{name}"], **GRADIENTS)


# -------------------------------------------------------------------------------- a whole training


@pytest.mark.parametrize("path", paths("loss_full_model_*.npz"))
def test_a_whole_training_step(path: Path) -> None:
    case = read(path)
    targets = targets_of(case)
    with np.load(path) as raw:
        names = [str(name) for name in raw["param_names"]]
    levels = len({name for name in names if re.fullmatch(r"input_proj\.\d+\.0\.weight", name)})
    keys = keys_of(path, targets.keypoints[0].shape[1], levels)
    people = int(case.get("num_group", 100))
    model = load_model(keys, gain_of(case), int(case["num_queries"]), people)
    model.zero_grad()
    noisy = noisy_people(targets.boxes, draws_of(case))
    noise = NoiseQueries(model.decoder.label_embedding[noisy.labels], noisy.boxes, noisy.sees)
    outputs = model.predictions(model.features(*images_of(case)), noise, every_layer=True)
    sigmas = sigmas_of(targets)
    assert_terms(case, outputs, noisy, sigmas, TRAINING)
    assert outputs.noise is not None
    for predicted, name in (
        (outputs.logits[-1], "pred_logits"),
        (outputs.boxes[-1], "pred_boxes"),
        (outputs.keypoints[-1].flatten(2), "pred_keypoints"),
        (outputs.noise.logits[-1], "dn_logits_last"),
        (outputs.noise.boxes[-1], "dn_boxes_last"),
    ):
        # Published poses have a third number of each keypoint, its visibility.
        assert_close(predicted.detach(), case[name][..., : predicted.shape[-1]], **TRAINING)
    _, matched = matches(outputs, targets, sigmas, PUBLISHED)
    last = matched.sets == len(outputs.logits) - 1
    for image in range(len(targets.area)):
        here = last & (matched.images == image)
        assert matched.queries[here].equal(case[f"match_query_{image}"])
    total = torch.stack(list(loss_terms(outputs, targets, noisy, sigmas, PUBLISHED).values())).sum()
    assert_close(total.detach(), case["total_weighted"], **TRAINING)
    total.backward()
    parameters = dict(model.named_parameters())
    assert {our_name(model, name) for name in names} == set(parameters)
    norms = case["param_grad_norms"]
    largest = float(norms.max())
    for name, norm in zip(names, norms.tolist(), strict=True):
        gradient = parameters[our_name(model, name)].grad
        if norm < 0:
            assert gradient is None
        else:
            assert gradient is not None
            # A norm far below the largest one is rounding's; sides are never learned.
            allowed = 1e-6 * largest if norm else 0
            assert float(gradient.norm()) == pytest.approx(norm, rel=1e-2, abs=allowed)
    for name, expected in case.items():
        if name.startswith("grad/"):
            gradient = parameters[our_name(model, name.removeprefix("grad/"))].grad
            assert gradient is not None
            rows = gradient.reshape(len(gradient), -1) if expected.dim() > 1 else gradient
            assert_close(rows[tuple(map(slice, expected.shape))], expected, relative=1e-2)
    model.zero_grad()


def test_every_case_is_covered() -> None:
    patterns = (
        "attention_mask*.npz", "backbone_*.npz", "decoder_*.npz", "denoising_*.npz",
        "forward_*_encoder.npz", "forward_*_decoder.npz", "initial_values*.npz", "loss_*.npz",
        "match_*.npz", "msdeform_attn*.npz", "post_*.npz", "proposals_and_encodings*.npz",
        "*.keys.json",
    )  # fmt: skip
    covered = {path for pattern in patterns for path in cases("edpose", pattern)}
    assert covered == {*cases("edpose", "*.npz"), *cases("edpose", "*.json")}
