"""Every study's variants change what they name, in the network, the loss, the reading or the data.

With tiny recipes on synthetic images. Noise is added to the initial weights, since some switches do
not matter to the special values that some weights begin with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from itertools import combinations
from typing import Any

import pytest
import torch

from posebench.bench.ablation.analysis import expected_order, printed_value
from posebench.bench.ablation.config import SYNTHETIC, StudyConfig, base_recipe
from posebench.bench.ablation.experiments import Experiment, resolve
from posebench.bench.tables import load_table, table_names
from posebench.models import STUDIES, PoseModel, profile_of
from posebench.models.dekr.model import DEKR
from posebench.models.group_pose.model import GroupPose
from posebench.models.higher_hrnet.decoding import HigherHRNetOutputs
from posebench.models.higher_hrnet.model import HigherHRNet
from posebench.models.posedet.decoding import suppress
from posebench.models.posedet.model import PoseDet
from posebench.preprocess import scaled_batches
from posebench.recipe import ModelConfig
from posebench.skeleton import SKELETONS
from tests.builders import make_batch, make_sample

RUN = {name: study for name, study in STUDIES.items() if study.variants}
SIZE = 64

# What the variants of a study differ in; nothing else may.
NETWORK, LOSS, READING, LOOKS, IMAGES, LENGTH = (
    "network", "loss", "reading", "looks", "images", "length",
)  # fmt: skip
DIFFERENT = {
    "cid/recalibration": {NETWORK, LOSS},
    "cid/embedding": {NETWORK, LOSS},
    "cid/ochuman": {NETWORK, LOSS, IMAGES},
    "cid/backbone": {NETWORK, LOSS, LOOKS},
    "cid/backbone_crowdpose": {NETWORK, LOSS, LOOKS},
    "posedet/refinement": {NETWORK, LOSS, READING},
    "posedet/grid": {NETWORK, LOSS, READING},
    "posedet/suppression": {READING},
    "posedet/backbone": {NETWORK, LOSS, LOOKS},
    "posedet/inference": {NETWORK, LOSS, LOOKS},
    "group_pose/queries": {NETWORK, LOSS},
    "group_pose/score": {NETWORK, LOSS},
    "group_pose/instances": {LOSS, READING},
    "group_pose/attention": {NETWORK, LOSS},
    "group_pose/groups": {NETWORK, LOSS},
    "group_pose/types": {LOSS},
    "group_pose/shared": {NETWORK, LOSS},
    "group_pose/convergence": {NETWORK, LOSS, LENGTH},
    "group_pose/backbone": {NETWORK, LOSS},
    "higher_hrnet/deconvolutions": {NETWORK, LOSS, READING, LOOKS},  # masks at stride 1
    "higher_hrnet/components": {NETWORK, LOSS, READING},
    "higher_hrnet/size": {LOOKS},
    "higher_hrnet/backbone": {NETWORK, LOSS},
    "higher_hrnet/scales": {LOOKS},
    "higher_hrnet/scales_crowdpose": {LOOKS},
    "dgcn/adjacency": {NETWORK, LOSS},
    "dgcn/gamma": {LOSS},
    "dgcn/heads": {NETWORK, LOSS},
    "dgcn/size": {NETWORK, LOSS},
    "dgcn/backbone": {NETWORK, LOSS, IMAGES},
    "dekr/ochuman": {IMAGES},
    "dekr/backbone": {NETWORK, LOSS, LOOKS},
    "dekr/backbone_crowdpose": {NETWORK, LOSS, LOOKS},
    "dekr/scales": {READING, LOOKS},
    "dekr/scales_crowdpose": {READING, LOOKS},
}


def experiments(name: str) -> list[Experiment]:
    study = STUDIES[name]
    return resolve(StudyConfig(name, SYNTHETIC, base_recipe(study, SYNTHETIC).name, steps=100))


@cache
def _learned(config: ModelConfig, skeleton: str) -> PoseModel:
    """Return a model whose weights are none of a beginning's special values."""
    torch.manual_seed(0)
    model = config.build(SKELETONS[skeleton])
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=noise))
    return model


def learned(experiment: Experiment) -> PoseModel:
    """Return a model for an experiment; the schedule and the data make no difference."""
    return _learned(experiment.recipe.config, experiment.data.skeleton)


def network(experiment: Experiment) -> Any:
    return tuple((name, tuple(p.shape)) for name, p in learned(experiment).named_parameters())


def loss(experiment: Experiment) -> Any:
    """Return the loss terms with which an experiment is trained."""
    if experiment.training is None:
        return None
    recipe = experiment.training.recipe
    return _terms(recipe.config, experiment.training.data.skeleton)


@cache
def _terms(config: ModelConfig, skeleton: str) -> Any:
    model = _learned(config, skeleton).train()
    batch = make_batch((3, 2), SKELETONS[skeleton], SIZE)
    torch.manual_seed(0)  # of drop paths
    with torch.no_grad():
        terms = model.loss(batch)
    found = tuple((name, round(float(value), 6)) for name, value in terms.items())
    if isinstance(model, PoseDet):
        # More people than the loss is computed on: two centres are mostly in the same cell.
        crowd = model.targets(make_batch((6, 6), SKELETONS[skeleton], 256))
        return found, (crowd.coarse >= 0).nonzero().tolist()
    return found


def reading(experiment: Experiment) -> Any:
    """Return what is decoded from fixed outputs, if a method can decode them in several ways."""
    model = learned(experiment).eval()
    random = torch.Generator().manual_seed(0)
    if isinstance(model, PoseDet):
        base = make_sample(1, SKELETONS[experiment.data.skeleton], 256).poses.keypoints.float()
        shifts = 60 * torch.linspace(0, 1, 60)[:, None, None] ** 2  # pixels
        crowds = (base + shifts, base + shifts * torch.tensor([1.0, 0.0]), base * (1 + shifts / 60))
        scores = torch.linspace(1, 0.5, len(shifts))
        kept = [suppress(c, scores, model.config, model.skeleton).tolist() for c in crowds]
        batch = make_batch((1,), SKELETONS[experiment.data.skeleton], 128)
        outputs = profile_of(model.config).ideal_outputs(model, batch)
        moved = replace(outputs, coarse=tuple(level + 1 for level in outputs.coarse))
        [people] = model.decode(moved, batch.geometry)
        return kept, people.keypoints.round(decimals=2).tolist()
    if isinstance(model, HigherHRNet):
        # Of two resolutions, whichever the network has.
        shapes = ((1, 3, 8, 8), (1, 3, 16, 16))[: 1 + (model.config.deconvolutions > 0)]
        maps = tuple(torch.randn(shape, generator=random) for shape in shapes)
        read = model.aggregated(HigherHRNetOutputs(maps, maps[0][:, :, None], (32, 32)))
        return round(float(read.sum()), 5)
    if isinstance(model, DEKR):
        batch = make_batch((3,), SKELETONS[experiment.data.skeleton], 128)
        ideal = profile_of(model.config).ideal_outputs(model, batch)
        noise = torch.rand(ideal.heatmaps.shape, generator=random) / 2
        outputs = replace(ideal, heatmaps=ideal.heatmaps + noise)
        [people] = model.decode(outputs, batch.geometry)
        return people.keypoints.round(decimals=2).tolist()
    if isinstance(model, GroupPose):
        with torch.inference_mode():
            return tuple(model(torch.zeros(1, 3, SIZE, SIZE)).logits.shape)
    return None


def looks(experiment: Experiment) -> Any:
    """Return the sizes at which an image is shown in testing and in training."""
    sample = make_sample(1, SKELETONS[experiment.data.skeleton], SIZE)
    [(_, batches)] = scaled_batches([sample], experiment.recipe.inference)
    return (
        [tuple(batch.images.shape) for batch in batches],
        experiment.recipe.inference.flip,
        experiment.training and experiment.training.recipe.augment,
    )


ASPECTS: dict[str, Callable[[Experiment], Any]] = {
    NETWORK: network,
    LOSS: loss,
    READING: reading,
    LOOKS: looks,
    IMAGES: lambda experiment: (experiment.training and experiment.training.data, experiment.data),
    LENGTH: lambda experiment: experiment.training and experiment.training.steps,
}


def test_every_study_says_what_it_changes() -> None:
    assert set(DIFFERENT) == set(RUN)


@pytest.mark.parametrize("name", RUN)
def test_variants_change_what_they_name(name: str) -> None:
    found = experiments(name)
    seen = {
        aspect: [repr(look(experiment)) for experiment in found] for aspect, look in ASPECTS.items()
    }
    assert {aspect for aspect, values in seen.items() if len(set(values)) > 1} == DIFFERENT[name]
    for (i, one), (j, other) in combinations(enumerate(found), 2):
        same = all(values[i] == values[j] for values in seen.values())
        assert not same, f"{one.variant.name} and {other.variant.name} are the same"


@pytest.mark.parametrize("name", RUN)
def test_variants_that_share_a_training_have_its_parameters(name: str) -> None:
    for experiment in experiments(name):
        if experiment.training is None:
            continue
        trained = replace(experiment, recipe=experiment.training.recipe)
        assert network(experiment) == network(trained)


# Of two readings of one row, this is not the one that the tables' own list has.
_ANOTHER_READING = {"coarse, read before"}


@pytest.mark.parametrize("name", RUN)
def test_variants_are_the_printed_rows(name: str) -> None:
    """The papers' tables say by themselves which recipe a row is of: both agree."""
    study = STUDIES[name]
    for experiment in resolve(StudyConfig(name, study.dataset, study.base)):
        variant, table = experiment.variant, experiment.variant.table or study.table
        if not variant.row or table not in table_names():
            continue
        assert printed_value(study, variant) is not None
        row = load_table(table).recipe_of(variant.row, variant.column)
        assert row is not None
        assert row.recipe is not None
        assert experiment.training is not None
        if variant.name not in _ANOTHER_READING:
            own = experiment.training.recipe if variant.tested_on else experiment.recipe
            assert own.config == row.recipe.config, variant.name
        assert experiment.training.recipe.epochs == row.recipe.epochs, variant.name


@pytest.mark.parametrize("name", [name for name in RUN if not RUN[name].expected])
def test_a_paper_orders_its_variants(name: str) -> None:
    study = STUDIES[name]
    found = resolve(StudyConfig(name, study.dataset, study.base))
    for worse, better, by in expected_order(study, found):
        values = {
            experiment.variant.name: printed_value(study, experiment.variant)
            for experiment in found
        }
        assert by is not None
        assert values[better] - values[worse] == pytest.approx(by, abs=0.01)  # type: ignore[operator]
    assert expected_order(study, found)


def term(study: str, variant: str) -> dict[str, float]:
    [experiment] = [
        experiment for experiment in experiments(study) if experiment.variant.name == variant
    ]
    found = loss(experiment)
    return dict(found[0] if study.startswith("posedet") else found)


def test_switches_of_losses_take_away_their_terms() -> None:
    assert term("cid/recalibration", "both")["contrastive"] == 0
    assert term("cid/recalibration", "contrastive, both")["contrastive"] > 0
    assert "refined" not in term("posedet/refinement", "coarse, trained without")
    assert "refined" in term("posedet/refinement", "refined")
    assert "heatmap" not in term("posedet/grid", "keypoints, OKS")
    assert term("posedet/grid", "keypoints, OKS, supervised")["heatmap"] > 0
    assert "boxes" not in term("group_pose/convergence", "60 of 60 epochs")
    assert term("group_pose/convergence", "60 of 60 epochs, boxes first")["boxes"] > 0
    assert "intermediate" not in term("dgcn/adjacency", "none")
    assert term("dgcn/adjacency", "dynamic")["intermediate"] > 0
    alone = term("higher_hrnet/components", "deconvolution, finest loss alone")["heatmap"]
    assert alone < term("higher_hrnet/components", "b: loss at every resolution")["heatmap"]


def test_all_entries_of_the_papers_are_there() -> None:
    counts = zip("ABCDEF", (8, 7, 11, 5, 5, 3), strict=True)
    expected = {f"{paper}{number}" for paper, count in counts for number in range(1, count + 1)}
    assert {study.entry for study in STUDIES.values()} == expected
    assert all(asdict(study)["table"] for study in STUDIES.values())


def test_fingerprints_stay_so_that_studies_continue_across_versions() -> None:
    """Of all trainings and tests, as the first version had them: see `RENAMED_FIELDS`."""
    keys = []
    for name, study in STUDIES.items():
        if study.method == "dekr":  # came later
            continue
        for dataset in dict.fromkeys((study.dataset, SYNTHETIC)) if study.variants else ():
            tiny = dataset == SYNTHETIC
            config = StudyConfig(
                name, dataset, base_recipe(study, dataset).name,
                budget_s=60.0 * tiny, steps=100 * tiny,
            )  # fmt: skip
            for experiment in resolve(config):
                keys += [experiment.key, experiment.training.key if experiment.training else ""]
    assert len(keys) == 528
    assert hashlib.sha256(" ".join(keys).encode()).hexdigest()[:16] == "1fd47d6aa422621d"
