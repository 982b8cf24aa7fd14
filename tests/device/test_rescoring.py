"""DEKR's scoring net on a GPU, which is off in the recipes and so not in the other tests."""

from __future__ import annotations

import torch

from posebench.engine import inference_model
from posebench.models import RECIPES, PoseModel
from posebench.recipe import override
from posebench.skeleton import COCO
from posebench.structures import PosePredictions
from tests.device.cases import CPU, batch, trained
from tests.device.ledger import Ledger
from tests.device.tensors import DEVICE
from tests.device.test_methods import assert_same_people


def rescoring(device: torch.device) -> PoseModel:
    """Return dekr_tiny with the package's weights, and a scoring net with random ones."""
    plain = trained("dekr_tiny")
    torch.manual_seed(0)
    model = override(RECIPES["dekr_tiny"], "rescore=true").build(COCO).eval()
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and all(name.startswith("scoring.") for name in missing)
    return inference_model(model.to(device))


def decoded(device: torch.device, ledger: Ledger) -> list[PosePredictions]:
    network, ready = rescoring(device), batch().to(device)
    with torch.inference_mode():
        outputs = network(ready.images, ready.padding)
        ledger.clear()
        return network.decode(outputs, ready.geometry)


def test_scores_are_the_same(gpu: Ledger) -> None:
    people = [decoded(device, gpu) for device in (CPU, DEVICE)]
    assert_same_people(people[1], people[0])
    with torch.inference_mode():
        network, ready = inference_model(trained("dekr_tiny")), batch()
        plain = network.decode(network(ready.images, ready.padding), ready.geometry)
    assert all(
        not own.scores.equal(other.scores) for own, other in zip(people[0], plain, strict=True)
    )


def test_a_batch_goes_to_the_net_and_back_in_one_copy_each(gpu: Ledger) -> None:
    decoded(DEVICE, gpu)
    assert gpu.waits.total() == gpu.downloads == 2, gpu.waits  # maps and candidates, expected OKS
    assert gpu.uploads.total() == 1, gpu.uploads
