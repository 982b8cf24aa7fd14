"""Names of backbones, which need no torch; the modules of this package build the networks."""

from __future__ import annotations

# A tiny HRNet is trained in minutes on two CPU cores: HRNet's four streams with one block per
# stream and one module per stage. On a CPU the time of its small maps depends on their number and
# hardly on their channels: with 24 channels it is trained further in a quarter of an hour than with
# 16, which are 1.2 times as fast. The wider ones stand for W40 and W48 in studies of the width.
TINY_HRNET_WIDTHS = {"hrnet_tiny": 24, "hrnet_tiny_30": 30, "hrnet_tiny_36": 36}

# Channels of the finest stream.
HRNET_WIDTHS = {**TINY_HRNET_WIDTHS, "hrnet_w32": 32, "hrnet_w40": 40, "hrnet_w48": 48}

# Name -> timm's model and weights: torchvision's first ones, from which DETR and its descendants
# start.
RESNET_WEIGHTS = {
    "resnet18": "resnet18.tv_in1k",
    "resnet50": "resnet50.tv_in1k",
    "resnet101": "resnet101.tv_in1k",
    "resnet_tiny": "resnet_tiny",
}

SWIN_WEIGHTS = {
    "swin_t": "swin_tiny_patch4_window7_224.ms_in1k",
    "swin_l": "swin_large_patch4_window12_384.ms_in22k",
    "swin_tiny": "swin_tiny",
    "swin_tiny_wide": "swin_tiny_wide",
}

# Classifiers without their first pooling.
UNPOOLED_WEIGHTS = {
    "resnet50": "resnet50.tv_in1k",
    "resnet101": "resnet101.tv_in1k",
    "resnet152": "resnet152.tv_in1k",
    "resnext50": "resnext50_32x4d.tv_in1k",
    "densenet121": "densenet121.tv_in1k",
    **{
        name: name
        for name in (
            "resnet_tiny",
            "resnet_tiny_2",
            "resnet_tiny_3",
            "resnext_tiny",
            "densenet_tiny",
        )
    },
}
