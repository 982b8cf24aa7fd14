"""How methods that predict sets are trained: as published for ED-Pose and Group Pose, and tiny."""

from __future__ import annotations

from typing import Any

from posebench.recipe import ModelConfig, Recipe
from posebench.skeleton import CROWDPOSE, Skeleton
from posebench.structures import DetrAugment, DetrResize, Inference


def released_recipe(name: str, config: ModelConfig, skeleton: Skeleton, **fields: Any) -> Recipe:
    """Return a released training.

    CrowdPose's is longer, and takes the area of a person's box for the person's.

    Args:
        name: of the recipe.
        config: of the network.
        skeleton: of the data set.
        fields: in which the methods differ, such as the drops of the learning rate.
    """
    crowd = skeleton is CROWDPOSE
    return Recipe(
        name=name,
        config=config,
        skeleton=skeleton,
        inference=Inference(DetrResize(short_side=800, long_side=1333), flip=False),
        augment=DetrAugment(box_area=crowd),
        epochs=80 if crowd else 60,
        batch_size=16,
        lr=1e-4,
        backbone_lr=1e-5,
        optimizer="adamw",
        weight_decay=1e-4,
        clip_norm=0.1,
        **fields,
    )


def tiny_recipe(name: str, config: ModelConfig, *, epochs: int, lr: float) -> Recipe:
    """Return a training on synthetic crowds that a CPU ends within minutes."""
    return Recipe(
        name=name,
        config=config,
        skeleton=None,
        default_for=("synthetic",),
        # Half of the 256 px of synthetic images: more steps in the same time, and people are still
        # 12 cells of the finest map tall.
        inference=Inference(DetrResize(short_side=128, long_side=256), flip=False),
        augment=DetrAugment(
            short_sides=(128,), long_side=256, crop=0.0,
            crop_short_sides=(160,), crop_sides=(96, 160),
        ),
        epochs=epochs,
        # On a CPU a micro-batch of four takes two thirds of the time of one of eight.
        batch_size=8,
        micro_batch_size=8,
        lr=lr,
        backbone_lr=2e-3,  # high, since the backbone starts from random weights
        schedule="cosine",
        warmup_steps=200,
        optimizer="adamw",
        weight_decay=1e-4,
        clip_norm=1.0,
        evaluate_every=2,
        pretrained=False,
    )  # fmt: skip
