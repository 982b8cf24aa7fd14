"""What every recipe of every method must do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from posebench.engine.checkpoint import Checkpoint
from posebench.engine.starting import start_from
from posebench.models import RECIPES, PoseModel, find_recipe, profile_of
from posebench.models.pifpaf.targets import field_layout
from posebench.preprocess import blank_batch
from posebench.skeleton import COCO, CROWDPOSE, MPII, SKELETONS, Skeleton
from posebench.structures import Batch, Inference, Resize
from tests.builders import make_batch, make_sample

# Wider trunks differ from the narrower ones in numbers only, as other sizes and schedules do. All
# methods learn MPII's keypoints in tests/cli/test_methods.py.
_DIFFERENT = {
    (recipe.method, recipe.config.backbone, repr(recipe.config), recipe.skeleton): name
    for name, recipe in reversed(RECIPES.items())
    if recipe.config.backbone in ("hrnet_tiny", "resnet_tiny", "hrnet_w32", "dla34")
    and recipe.skeleton is not MPII
}
NAMES = sorted(_DIFFERENT.values())


def skeleton_of(name: str) -> Skeleton:
    return RECIPES[name].skeleton or COCO


def build(name: str) -> PoseModel:
    model: PoseModel = RECIPES[name].build(skeleton_of(name))
    return model


def precise(name: str) -> PoseModel:
    """Return a model in float64: random weights find ties that rounding would decide."""
    return build(name).double().eval()


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_found_by_its_name_and_builds(name: str) -> None:
    recipe = find_recipe(name, "coco")
    assert recipe.name == name
    with torch.device("meta"):
        model = recipe.build(skeleton_of(name))
    assert isinstance(model, PoseModel)
    assert all(ours for _, ours in model.published_names.items())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("people", [(0,), (0, 2), (3, 1)])
def test_loss_is_finite_and_reaches_every_parameter(name: str, people: tuple[int, ...]) -> None:
    model = build(name).train()
    terms = model.loss(make_batch(people, skeleton_of(name), size=64))
    assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("name", [name for name in RECIPES if RECIPES[name].skeleton is None])
def test_every_keypoint_set_can_be_learned(name: str, skeleton: Skeleton) -> None:
    model: PoseModel = RECIPES[name].build(skeleton)
    terms = model.train().loss(make_batch((2, 1), skeleton, size=64))
    assert all(term.isfinite() for term in terms.values())
    (predictions,) = model.eval().predict(
        [make_sample(1, skeleton, size=64)], Inference(Resize(64), flip=True)
    )
    assert predictions.keypoints.shape[1:] == (len(skeleton), 2)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_predicted_like_its_images(name: str, flip: bool) -> None:
    model = precise(name)
    samples = [make_sample(2, skeleton_of(name), seed=seed) for seed in range(3)]
    inference = Inference(Resize(64), flip=flip)
    together = model.predict(samples, inference)
    for sample, joint in zip(samples, together, strict=True):
        (alone,) = model.predict([sample], inference)
        torch.testing.assert_close(joint.scores, alone.scores, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(joint.keypoints, alone.keypoints, rtol=0, atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_predictions_keep_the_order_of_samples_of_many_sizes(name: str) -> None:
    model = precise(name)
    sizes = (128, 70, 128, 100)
    samples = [make_sample(1, skeleton_of(name), size=size, seed=size) for size in sizes]
    inference = Inference(Resize(64), flip=False)
    together = model.predict(samples, inference)
    alone = [model.predict([sample], inference)[0] for sample in samples]
    for joint, single in zip(together, alone, strict=True):
        torch.testing.assert_close(joint.scores, single.scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("people", [0, 1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_ideal_outputs_decode_to_their_people(name: str, people: int) -> None:
    recipe = RECIPES[name]
    with torch.device("meta"):
        model: PoseModel = recipe.build(skeleton_of(name))
    sample = make_sample(people, skeleton_of(name), size=300)
    batch = blank_batch(sample, replace(recipe.inference.resize, short_side=512))
    (predictions,) = model.decode(
        profile_of(model.config).ideal_outputs(model, batch), batch.geometry
    )
    assert len(predictions) == people
    if not people:
        return
    truth = sample.poses.keypoints.float()
    order = torch.cdist(predictions.keypoints.mean(1), truth.mean(1)).argmin(1)
    assert sorted(order.tolist()) == list(range(people))
    # Half a cell of four network pixels, in image pixels, and the quarter-cell step on top.
    error = (predictions.keypoints - truth[order]).abs()
    assert (error <= 3.0 * 300 / 512 + 1e-3).all()


@pytest.mark.parametrize("name", NAMES)
def test_explain_returns_what_predict_does(name: str) -> None:
    model = precise(name)
    sample = make_sample(2, skeleton_of(name))
    inference = Inference(Resize(64))
    (predicted,) = model.predict([sample], inference)
    explained, maps = profile_of(model.config).explain(model, sample, inference)
    torch.testing.assert_close(explained.keypoints, predicted.keypoints)
    assert maps.people.shape[:2] == explained.keypoints.shape[:2]
    for heatmap in maps.scene.values():
        assert heatmap.shape == maps.people.shape[2:]


# ------------------------------------------------------------------------------- keypoints' rows


TINY = [name for name in NAMES if "tiny" in name]


@pytest.mark.parametrize("name", TINY)
def test_every_tensor_that_depends_on_the_keypoints_says_how(name: str) -> None:
    with torch.device("meta"):
        one, other = (RECIPES[name].build(skeleton) for skeleton in (COCO, CROWDPOSE))
    shapes, others = one.state_dict(), other.state_dict()
    rows = {n: dims for n, dims in one.keypoint_rows().items() if n in shapes}
    for tensor, dims in rows.items():
        for dim, labels in dims.items():
            assert shapes[tensor].shape[dim] == len(labels) == len(set(labels))
    differing = {n for n in shapes if shapes[n].shape != others[n].shape}
    assert differing - set(one.computed_tensors) == set(rows)


def reordered(batch: Batch, order: list[int]) -> Batch:
    poses = [
        replace(own, keypoints=own.keypoints[:, order], visibility=own.visibility[:, order])
        for own in batch.poses
    ]
    return replace(batch, poses=poses)


@pytest.mark.parametrize("name", TINY)
def test_weights_taken_by_name_lose_as_much_in_another_order(name: str) -> None:
    """The loss is a sum over keypoints, so it is the same whatever their order is."""
    order = np.random.default_rng(0).permutation(len(COCO)).tolist()
    place = {old: new for new, old in enumerate(order)}
    limbs = [(place[a], place[b]) for a, b in field_layout(COCO).limbs]
    limbs = [limb[::-1] if number % 3 else limb for number, limb in enumerate(limbs)][::-1]
    shuffled = replace(
        COCO,
        name="shuffled",
        keypoints=tuple(COCO.keypoints[k] for k in order),
        sigmas=tuple(COCO.sigmas[k] for k in order),
        pairs=tuple((place[a], place[b]) for a, b in COCO.pairs or ()),
        limbs=tuple(limbs),
    )
    torch.manual_seed(0)
    source = RECIPES[name].build(COCO).double()
    source.train(
        "graphs_drawn" not in source.computed_tensors
    )  # DGCN's graphs of training are drawn anew
    for parameter in source.parameters():  # heads start near zero, all rows alike
        parameter.data += 0.01 * torch.randn_like(parameter)
    model = RECIPES[name].build(shuffled).double().train(source.training)
    recipe = replace(RECIPES[name], skeleton=COCO)
    taken = start_from(model, Checkpoint(Path("a"), recipe, source.state_dict(), {}), "a")
    assert not taken.left and not taken.in_part
    batch = make_batch((2, 1), size=64)
    batch = replace(batch, images=batch.images.double())
    with torch.no_grad():
        wanted, found = source.loss(batch), model.loss(reordered(batch, order))
        model.load_state_dict(source.state_dict())  # rows as they lie there
        wrong = model.loss(reordered(batch, order))
    values = {term: value.item() for term, value in wanted.items()}
    assert {term: value.item() for term, value in found.items()} == pytest.approx(values, rel=1e-5)
    assert {term: value.item() for term, value in wrong.items()} != pytest.approx(values, rel=1e-4)
