"""DGCN's ablations, in the order of the paper's tables."""

from __future__ import annotations

from posebench.studies import Study, Variant, named

_BASE = "dgcn_resnet50_coco"
_NO_MODULE = Variant("none", 1, recipe="pifpaf_resnet50_coco")
_DEPTHS = {50: (), 101: ("backbone=resnet_tiny_2",), 152: ("backbone=resnet_tiny_3",)}


def _sized(row: int, depth: int, heads: int) -> Variant:
    """Return the variant of a row of Table 4: a ResNet of a depth, with a number of heads."""
    tiny = _DEPTHS[depth]
    if heads == 0:
        kind, recipe = "none", f"pifpaf_resnet{depth}_coco"
    elif heads == 1:
        kind, recipe = "1 head", f"dgcn_resnet{depth}_coco"
    else:
        kind, recipe = f"{heads} heads", f"dgcn_resnet{depth}_{heads}heads_coco"
        tiny = (*tiny, f"heads={heads}")
    return Variant(f"ResNet-{depth}, {kind}", row, recipe=recipe, tiny=tiny)


def _backbone(row: int, name: str, recipe: str, tiny: tuple[str, ...], dataset: str) -> Variant:
    """Return the variant of a row of Table 5: a recipe trained on a dataset."""
    crowd = dataset == "crowdpose"
    return Variant(
        name, row, recipe=f"{recipe}_{dataset}", tiny=tiny,
        trained_on="crowdpose:trainval" if crowd else "",
        tested_on="crowdpose:test" if crowd else "",
    )  # fmt: skip


STUDIES = (
    Study(
        "dgcn/adjacency", "E1", "dgcn_table01", "adjacency of the keypoint graph",
        base=_BASE,
        variants=(
            _NO_MODULE,
            *named(("identity", "limbs", "soft", "dynamic"), "adjacency", (2, 3, 4, 5)),
        ),
    ),
    Study(
        "dgcn/gamma", "E2", "dgcn_table02", "scale of the soft adjacency",
        base=_BASE,
        variants=tuple(
            Variant(f"{gamma:g}", row, ("adjacency=soft", f"gamma={gamma}"))
            for row, gamma in enumerate((0.01, 0.1, 0.5, 1.0, 5.0, 100.0), start=1)
        ),
    ),
    Study(
        "dgcn/heads", "E3", "dgcn_table03", "number of heads",
        base=_BASE,
        variants=(_NO_MODULE, *named((1, 2, 3), "heads", (2, 3, 4))),
    ),
    Study(
        "dgcn/size", "E4", "dgcn_table04", "model size",
        base=_BASE,
        variants=tuple(
            _sized(row, depth, heads)
            for row, (depth, heads) in enumerate(
                ((50, 0), (50, 1), (50, 2), (50, 3), (101, 0), (101, 1), (152, 0), (152, 1)),
                start=1,
            )
        ),
    ),
    Study(
        "dgcn/backbone", "E5", "dgcn_table05", "other backbones, and CrowdPose",
        base=_BASE,
        variants=tuple(
            _backbone(
                row + (method == "dgcn"), f"{name}, {module}", f"{method}_{backbone}", tiny, dataset
            )
            for row, name, backbone, tiny, dataset in (
                (1, "ResNeXt-50", "resnext50", ("backbone=resnext_tiny",), "coco"),
                (3, "DenseNet-121", "densenet121", ("backbone=densenet_tiny",), "coco"),
                (5, "CrowdPose", "resnet50", (), "crowdpose"),
            )
            for method, module in (("pifpaf", "none"), ("dgcn", "module"))
        ),
    ),
)  # fmt: skip
