"""DGCN's ablations, in the order of the paper's tables."""

from __future__ import annotations

from posebench.studies import Study, Variant, named

_BASE = "dgcn_resnet50_coco"
_NO_MODULE = Variant("none", 1, recipe="pifpaf_resnet50_coco")
_DEPTHS = {50: (), 101: ("backbone=resnet_tiny_2",), 152: ("backbone=resnet_tiny_3",)}


def _sized(row: int, depth: int, heads: int) -> Variant:
    """Return a line of Table 4: a ResNet of so many layers with so many heads of the module."""
    kind = f"ResNet-{depth}, " + ("none" if not heads else f"{heads} head" + "s" * (heads > 1))
    recipe = f"{'dgcn' if heads else 'pifpaf'}_resnet{depth}"
    recipe += f"_{heads}heads" * (heads > 1) + "_coco"
    tiny = _DEPTHS[depth] + (f"heads={heads}",) * (heads > 1)
    return Variant(kind, row, recipe=recipe, tiny=tiny)


def _trunk(row: int, name: str, recipe: str, tiny: tuple[str, ...], dataset: str) -> Variant:
    crowd = dataset == "crowdpose"
    return Variant(
        name, row, recipe=f"{recipe}_{dataset}", tiny=tiny,
        trained_on="crowdpose:trainval" if crowd else "",
        tested_on="crowdpose:test" if crowd else "",
    )  # fmt: skip


STUDIES = (
    Study(
        "dgcn/adjacency", "E1", "dgcn_table01", "adjacency of the graph of keypoints",
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
        "dgcn/heads", "E3", "dgcn_table03", "pyramid of heads",
        base=_BASE,
        variants=(_NO_MODULE, *named((1, 2, 3), "heads", (2, 3, 4))),
    ),
    Study(
        "dgcn/size", "E4", "dgcn_table04", "size of the model",
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
        "dgcn/backbone", "E5", "dgcn_table05", "other trunks, and CrowdPose",
        base=_BASE,
        variants=tuple(
            _trunk(row + (method == "dgcn"), f"{name}, {word}", f"{method}_{trunk}", tiny, dataset)
            for row, name, trunk, tiny, dataset in (
                (1, "ResNeXt-50", "resnext50", ("backbone=resnext_tiny",), "coco"),
                (3, "DenseNet-121", "densenet121", ("backbone=densenet_tiny",), "coco"),
                (5, "CrowdPose", "resnet50", (), "crowdpose"),
            )
            for method, word in (("pifpaf", "none"), ("dgcn", "module"))
        ),
    ),
)  # fmt: skip
