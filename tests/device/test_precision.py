"""Half precision under CUDA's own lists of operators, and TF32 where it is asked for."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from posebench.engine.evaluation import autocast
from posebench.structures import PosePredictions
from tests.device.cases import NAMES, batch, folded, samples, trained, views
from tests.device.ledger import Ledger
from tests.device.tensors import DEVICE

# How far the people with a score of one half or more may move, of the tenth that moves most.
PIXELS = {torch.bfloat16: 4.0, torch.float16: 2.0}


@pytest.mark.parametrize("name", NAMES)
def test_losses_in_half_precision(name: str, gpu: Ledger) -> None:
    ready = batch().to(DEVICE)
    model = trained(name).to(DEVICE).train()
    totals = []
    for dtype in (torch.float32, *PIXELS):
        with torch.autocast("cuda", dtype, enabled=dtype in PIXELS), torch.no_grad():
            torch.manual_seed(0)
            terms = model.loss(ready)
        assert all(term.dtype == torch.float32 for term in terms.values())
        totals.append(sum(float(term) for term in terms.values()))
    assert totals == pytest.approx(totals[:1] * 3, rel=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_people_in_half_precision(name: str, gpu: Ledger) -> None:
    wanted = folded(name, DEVICE).predict(samples(), views(flip=False))
    for dtype, pixels in PIXELS.items():
        with torch.autocast("cuda", dtype):
            found = deepcopy(folded(name, DEVICE)).to(dtype).predict(samples(), views(flip=False))
        assert_near(found, wanted, pixels)


def assert_near(found: list[PosePredictions], wanted: list[PosePredictions], pixels: float) -> None:
    apart = []
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.keypoints.dtype.is_floating_point and ours.keypoints.dtype.itemsize >= 4
        if not len(theirs):
            continue
        best = theirs[theirs.scores >= min(0.5, float(theirs.scores[0]))]
        assert len(ours)
        distance = (ours.keypoints[None] - best.keypoints[:, None]).norm(dim=-1).median(-1).values
        apart += distance.amin(1).tolist()
    assert apart and torch.tensor(apart).quantile(0.9) <= pixels


def test_tf32_is_on_where_it_is_asked_for(gpu: Ledger) -> None:
    settings = torch.backends.cudnn, torch.backends.cuda.matmul
    for precision, wanted in (("tf32", True), ("fp32", False), ("bf16", False)):
        with autocast(DEVICE, precision):  # type: ignore[arg-type]
            assert [one.allow_tf32 for one in settings] == [wanted] * 2
