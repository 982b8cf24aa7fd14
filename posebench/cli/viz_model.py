"""The model that `posebench viz` draws the people of, and where its pictures go by default."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from posebench.cli.common import messages

if TYPE_CHECKING:
    from posebench.engine import Predicting

# The model if nothing was trained on real images: the only recipe whose weights download without a
# login.
BASELINE = "mask_rcnn_resnet50_coco"


def run_folder(runs: Path, model: Predicting, name: str) -> Path:
    """Return a new folder for the pictures."""
    from posebench.engine import new_run

    return new_run(runs, "viz", model.name, name)


def find_model(name: str | None, device: str, runs: Path, backend: str) -> Predicting:
    """Return the named model, else that of the newest run on real images, else the baseline.

    Raises:
        ModelError: there is none, and the baseline's weights cannot be downloaded.
    """
    import posebench
    from posebench.api.prediction import find_predicting
    from posebench.engine import latest_run, trained_on
    from posebench.errors import ModelError

    if name:
        return find_predicting(name, device, backend)
    newest = latest_run(runs, "train", accepts=lambda run: trained_on(run) != "synthetic")
    if newest:
        return posebench.load_model(newest, device=device, backend=backend)
    trained = f"No run under {runs / 'train'} was trained on real images"
    messages.print(escape(f"{trained}; using {BASELINE}."), soft_wrap=True)
    try:
        return posebench.load_model(BASELINE, device=device, backend=backend)
    except ModelError as error:
        raise ModelError(
            f"{trained}, and the weights of {BASELINE} could not be downloaded: for synthetic "
            "people take --model cid_tiny, which comes with posebench; for photographs name a "
            "checkpoint with --model (`posebench weights import` converts published ones), train "
            "on a dataset (`posebench train cid --dataset coco`), or connect to the network."
        ) from error
