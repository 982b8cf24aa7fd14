"""`posebench export`: a model as a file of another runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.columns import Column, print_columns
from posebench.cli.common import LimitOption, RootOption, messages, out, percent, to_file

if TYPE_CHECKING:
    from posebench.exporting.writing import Exported


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Run folder, checkpoint, or recipe with weights, e.g. cid_tiny."
        ),
    ],
    format: Annotated[
        str, typer.Option("--format", help="Format: onnx, openvino or pt2.")
    ] = "onnx",
    to: Annotated[
        Path | None,
        typer.Option(
            "--out", callback=to_file, help="The file (default: the recipe's name in this folder)."
        ),
    ] = None,
    size: Annotated[
        str,
        typer.Option(
            help="Height x width of the input, e.g. 512x704: images are scaled to fit and padded; "
            "or dynamic: any size, and images are resized as in evaluation."
        ),
    ] = "dynamic",
    batch: Annotated[
        str, typer.Option(help="Images of a forward pass, or dynamic: any number.")
    ] = "dynamic",
    half: Annotated[
        bool,
        typer.Option("--half", help="Store weights in half precision, at half of the file's size."),
    ] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Quantise the convolutions by the runtime's own quantiser, and print the AP "
            "beside float32's.",
        ),
    ] = False,
    calibrate: Annotated[
        int,
        typer.Option(min=1, help="With --int8: number of training images to measure ranges on."),
    ] = 64,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            help="With --int8: dataset to calibrate and evaluate on (default: the model's own).",
        ),
    ] = None,
    data_root: RootOption = None,
    limit: LimitOption = None,
    flip: Annotated[
        bool | None,
        typer.Option(help="Merge the mirrored image's predictions (default: the recipe's)."),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--check",
            help="Image on which the file is compared with PyTorch; repeat for others (default: "
            "synthetic crowds).",
        ),
    ] = None,
) -> None:
    """Write a model's network for ONNX Runtime, OpenVINO or PyTorch, and check the file."""
    chosen_size, chosen_batch = _size(size), _batch(batch)
    import posebench

    exported = posebench.export(
        model, to,
        format=format, size=chosen_size, batch=chosen_batch, half=half, int8=int8,
        calibrate=calibrate, dataset=dataset, data_root=data_root, limit=limit, flip=flip,
        images=images or (),
    )  # fmt: skip
    _report(exported)


def _size(text: str) -> tuple[int, int] | None:
    from posebench.errors import UsageError

    if text == "dynamic":
        return None
    try:
        height, width = (int(word) for word in text.lower().split("x"))
    except ValueError:
        raise UsageError(
            f"--size expects height x width such as 512x704, or dynamic, not {text!r}."
        ) from None
    return height, width


def _batch(text: str) -> int | None:
    from posebench.errors import UsageError

    if text == "dynamic":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--batch expects a number above 0, or dynamic, not {text!r}.")
    return int(text)


def _report(exported: Exported) -> None:
    agreement = exported.agreement
    print_columns(
        [
            Column("output", list(agreement.tensors), numeric=False),
            Column("largest difference", [f"{v:.1e}" for v in agreement.tensors.values()]),
            Column("largest value", [f"{v:.3g}" for v in agreement.largest.values()]),
        ]
    )
    if agreement.unequal:
        messages.print(
            f"[yellow]warning:[/] {agreement.unequal} of {agreement.people} people on the check "
            f"images differ from PyTorch's, by up to {agreement.distance_px:.2g} px.",
            soft_wrap=True,
        )
    else:
        messages.print(
            f"{agreement.people} people equal PyTorch's within {agreement.distance_px:.1e} px, "
            f"scores within {agreement.score:.1e}."
        )
    if exported.scored:
        metrics = ", ".join(f"{name} {percent(value)}" for name, value in exported.scored.items())
        messages.print(f"AP, or the dataset's main metric: {metrics}.")
    size = exported.bytes / 1e6
    messages.print(f"{size:.1f} MB, with its recipe and test settings. Written to:")
    out.print(escape(str(exported.path)), soft_wrap=True)
