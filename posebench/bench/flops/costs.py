"""Counts a recipe's forward pass on the meta device, where nothing is computed or allocated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import torch

from posebench.bench.flops.counter import OperationCount, count_call, count_operations
from posebench.engine import inference_model
from posebench.engine.runs import git_commit
from posebench.models import PoseModel, profile_of
from posebench.recipe import Recipe
from posebench.skeleton import COCO

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Audit:
    """What a recipe's forward pass computes, counted in three ways."""

    recipe: Recipe
    size: tuple[int, int]  # H, W of the input
    people: int  # in all images
    executed: OperationCount  # as trained, with batch norms
    flops_folded: int  # as predicting, with batch norms folded into convolutions
    macs_as_written: int  # by the paper's equations

    def rows(self, depth: int = 0) -> pd.DataFrame:
        """Return one tidy row per total, operator, uncounted operator and module.

        Args:
            depth: levels of modules; 0: none.
        """
        import pandas as pd

        common = {
            "recipe": self.recipe.name,
            "method": self.recipe.method,
            "backbone": self.recipe.config.backbone,
            "input_size": "x".join(map(str, self.size)),
            "people": self.people,
            "source": "measured",
            "date": datetime.now().date().isoformat(),
            "commit": git_commit(),
        }
        count = self.executed
        rows: list[tuple[str, float, str]] = [
            ("parameters", count.parameters, "count"),
            ("macs", count.macs, "MACs"),
            ("macs_as_written", self.macs_as_written, "MACs"),
            ("flops", count.flops, "FLOPs"),
            ("flops_folded", self.flops_folded, "FLOPs"),
        ]
        for operator in count.operators:
            rows.append((f"macs/{operator.name}", operator.macs, "MACs"))
            rows.append((f"flops/{operator.name}", operator.flops, "FLOPs"))
            rows.append((f"calls/{operator.name}", operator.calls, "count"))
        rows += [(f"uncounted/{name}", calls, "count") for name, calls in count.uncounted]
        for _, path, module in count.tree.walk(depth) if depth else ():
            rows.append((f"module_macs/{path}", module.macs, "MACs"))
            rows.append((f"module_flops/{path}", module.flops, "FLOPs"))
            rows.append((f"module_parameters/{path}", module.parameters, "count"))
        return pd.DataFrame(
            {**common, "metric": metric, "value": value, "unit": unit}
            for metric, value, unit in rows
        )


def audit(
    recipe: Recipe, size: tuple[int, int] | None = None, *, batch: int = 1, people: int = 1
) -> Audit:
    """Count a recipe's forward pass as executed, with folded batch norms, and as written.

    Args:
        recipe: the network.
        size: H, W of the input; None: the recipe's short side on both sides.
        batch: number of images.
        people: in all images together; matters to networks that compute something per person.
    """
    model = meta_model(recipe)
    size = size or _square(recipe)
    images, given = _inputs(size, batch, people)
    executed = as_written = count_operations(model, images, people=given)
    if profile_of(recipe.config).as_written is not None:
        as_written = count_recipe(
            recipe, size, batch=batch, people=people, as_written=True, model=model
        )
    return Audit(
        recipe=recipe,
        size=size,
        people=people,
        executed=executed,
        flops_folded=count_operations(inference_model(model), images, people=given).flops,
        macs_as_written=as_written.macs,
    )


def count_recipe(
    recipe: Recipe,
    size: tuple[int, int] | None = None,
    *,
    batch: int = 1,
    people: int = 1,
    as_written: bool = False,
    model: PoseModel | None = None,
) -> OperationCount:
    """Count a recipe's forward pass.

    Args:
        recipe: the network.
        size: H, W of the input; None: the recipe's short side on both sides.
        batch: number of images.
        people: in all images together; matters to networks that compute something per person.
        as_written: count the paper's equations one by one, where `forward` computes the same
            result in fewer operations.
        model: the recipe's network on the meta device, if it has been built before.
    """
    network = model or meta_model(recipe)
    images, given = _inputs(size or _square(recipe), batch, people)
    equations = profile_of(recipe.config).as_written
    if as_written and equations is not None:
        return count_call(network, lambda: equations(network, images, None, given))
    return count_operations(network, images, people=given)


def meta_model(recipe: Recipe) -> PoseModel:
    """Return the recipe's network on the meta device, where weights take no memory."""
    with torch.device("meta"):
        model = recipe.build(recipe.skeleton or COCO)
    return model.eval()


def _square(recipe: Recipe) -> tuple[int, int]:
    side = recipe.inference.resize.short_side
    return side, side


def _inputs(size: tuple[int, int], batch: int, people: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (batch, 3, *size) without memory, and people (people, 3): image, y, x."""
    images = torch.zeros(batch, 3, *size, device="meta")
    # A real tensor, since shapes depend on how many people each image has.
    given = torch.zeros(people, 3, dtype=torch.int64)
    given[:, 0] = torch.arange(people) * batch // max(people, 1)
    return images, given
