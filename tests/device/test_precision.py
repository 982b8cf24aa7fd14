"""Half precision under CUDA's own lists of operators, and TF32 where it is asked for."""

from __future__ import annotations

import pytest
import torch

from posebench.engine.evaluation import autocast
from tests.device.cases import TRAINED, batch, folded, samples, trained, views
from tests.device.ledger import Ledger
from tests.device.tensors import DEVICE

# How far the people with a score of one half or more may move, of the tenth that moves most.
PIXELS = {torch.bfloat16: 4.0, torch.float16: 2.0}


@pytest.mark.parametrize("dtype", PIXELS, ids=str)
@pytest.mark.parametrize("name", TRAINED)  # random weights find the same people in no precision
def test_losses_and_people_in_half_precision(name: str, dtype: torch.dtype, gpu: Ledger) -> None:
    ready = batch().to(DEVICE)
    model = trained(name).to(DEVICE).train()
    terms = {}
    for enabled in (False, True):
        with torch.autocast("cuda", dtype, enabled=enabled), torch.no_grad():
            torch.manual_seed(0)
            terms[enabled] = model.loss(ready)
    assert all(term.dtype == torch.float32 for term in terms[True].values())
    total, low = (sum(float(t) for t in terms[enabled].values()) for enabled in (False, True))
    assert low == pytest.approx(total, rel=0.1)

    inference = views(flip=False)
    wanted = folded(name, DEVICE).predict(samples(), inference)
    with torch.autocast("cuda", dtype):
        found = folded(name, DEVICE).to(dtype).predict(samples(), inference)
    apart = []
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.keypoints.dtype.is_floating_point and ours.keypoints.dtype.itemsize >= 4
        if not len(theirs):
            continue
        best = theirs[theirs.scores >= min(0.5, float(theirs.scores[0]))]
        assert len(ours)
        distance = (ours.keypoints[None] - best.keypoints[:, None]).norm(dim=-1).median(-1).values
        apart += distance.amin(1).tolist()
    assert apart and torch.tensor(apart).quantile(0.9) <= PIXELS[dtype]


def test_tf32_is_on_where_it_is_asked_for(gpu: Ledger) -> None:
    settings = torch.backends.cudnn, torch.backends.cuda.matmul
    for precision, wanted in (("tf32", True), ("fp32", False), ("bf16", False)):
        with autocast(DEVICE, precision):  # type: ignore[arg-type]
            assert [one.allow_tf32 for one in settings] == [wanted] * 2
