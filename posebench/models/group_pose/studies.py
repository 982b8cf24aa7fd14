"""Group Pose's ablations, in the order of the paper's tables."""

from __future__ import annotations

from posebench.studies import Study, Variant

_KEYPOINT_QUERIES = ("score_from=keypoint", "queries=keypoint")
_BASE = "group_pose_resnet50_coco"
# Two of the paper's six decoder layers detect boxes; one of the tiny decoder's two.
_DETECTION, _TINY_DETECTION = (
    ("detection_layers=2",), ("detection_layers=1", "detection_queries=60"),
)  # fmt: skip

STUDIES = (
    Study(
        "group_pose/queries", "C1", "grouppose_table04_a", "queries of a person",
        base=_BASE,
        variants=(
            Variant("instance and keypoint", 1),
            Variant("keypoint", 2, _KEYPOINT_QUERIES),
            Variant("instance", 3, ("queries=instance",)),
        ),
    ),
    Study(
        "group_pose/score", "C2", "grouppose_table04_b", "what a pose is scored from",
        base=_BASE,
        variants=(
            Variant("keypoint queries, no instance query", 1, _KEYPOINT_QUERIES),
            Variant("keypoint queries", 2, ("score_from=keypoint",)),
            Variant("instance query", 3),
        ),
    ),
    Study(
        "group_pose/instances", "C3", "grouppose_table04_c", "number of predicted people",
        base=_BASE,
        # The number changes no parameter, so that one model can predict any. The paper does not say
        # whether each row was trained with its number.
        variants=(
            Variant(
                "50 of the model of 100", 1, test=("instances=50",), tiny_test=("instances=5",)
            ),
            Variant("100", 2),
            Variant(
                "200 of the model of 100", 3, test=("instances=200",), tiny_test=("instances=20",)
            ),
            Variant("50, trained so", 1, ("instances=50",), tiny=("instances=5",)),
            Variant("200, trained so", 3, ("instances=200",), tiny=("instances=20",)),
        ),
    ),
    Study(
        "group_pose/attention", "C4", "grouppose_table04_d", "self-attention in the decoder",
        base=_BASE,
        variants=(
            Variant("standard", 1, ("self_attention=standard",)),
            Variant("masked", 2, ("self_attention=masked",)),
            Variant("group", 3),
        ),
    ),
    Study(
        "group_pose/groups", "C5", "grouppose_table04_e", "the two group attentions",
        base=_BASE,
        variants=(
            Variant("both", 1),
            Variant("within", 2, ("across_instance=false",)),
            Variant("across", 3, ("within_instance=false",)),
            Variant(
                "neither", train=("within_instance=false", "across_instance=false"),
                fact="grouppose-07",
            ),
        ),
    ),
    Study(
        "group_pose/types", "C6", "grouppose_tableA02", "types that attend across people",
        base=_BASE,
        variants=(
            Variant("instance and keypoint", 1),
            Variant("keypoint", 2, ("across_types=keypoint",)),
            Variant("instance", 3, ("across_types=instance",)),
        ),
    ),
    Study(
        "group_pose/shared", "C7", "grouppose_tableA03", "one module for both group attentions",
        base=_BASE,
        variants=(
            Variant("separate", 1),
            Variant("shared", 2, ("shared_attention=true",)),
        ),
    ),
    Study(
        "group_pose/convergence", "C8", "grouppose_table05",
        "length of the schedule, with and without a decoder that detects people first",
        base=_BASE,
        variants=tuple(
            Variant(
                f"{epochs} of 60 epochs{', boxes first' if train else ''}", row, train, tiny=tiny,
                share=epochs / 60, column=f"AP_{epochs}e",
            )
            for row, train, tiny in ((2, (), ()), (3, _DETECTION, _TINY_DETECTION))
            for epochs in (12, 24, 36, 48, 60)
        ),
    ),
    Study(
        "group_pose/time", "C9", "grouppose_table06", "time per image at two sizes",
        command=(
            "posebench speed --models group_pose_resnet50_coco,ed_pose_resnet50_coco "
            "--protocol paper"
        ),
    ),
    Study(
        "group_pose/backbone", "C10", "grouppose_table01", "backbone",
        base=_BASE,
        variants=(
            Variant("ResNet-50", 20),
            Variant(
                "Swin-T", 21, recipe="group_pose_swin_t_coco", tiny=("backbone=swin_tiny",)
            ),
            Variant(
                "Swin-L", 22, recipe="group_pose_swin_l_coco", tiny=("backbone=swin_tiny_wide",)
            ),
        ),
    ),
    Study(
        "group_pose/reliance", "C11", "Figure 6", "pixels that a person's score depends on",
        command="posebench viz IMAGE --steps --model RUN",
    ),
)  # fmt: skip
