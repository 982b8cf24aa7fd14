"""Downloaded state dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench.downloads.fetching import download_cached
from posebench.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor


def download_state_dict(url: str, *, sha256: str = "") -> dict[str, Tensor]:
    """Return the state dict at a URL, from torch.hub's cache if it was downloaded before.

    Args:
        url: the address of a file that `torch.save` wrote.
        sha256: its hash or the first digits; empty: those that its name carries.

    Raises:
        ModelError: it is not cached and cannot be downloaded, or the file is damaged.
    """
    path = download_cached(url, sha256=sha256)
    import torch  # late: without a network there is nothing to read

    try:
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises a dozen types for a damaged file
        raise ModelError(
            f"{path} is damaged or no state dict: delete it to download {url} again."
        ) from error
    return weights
