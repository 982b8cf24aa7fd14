"""Where downloaded weights are kept, and the hashes that their names carry."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

# Published names end in the first digits of the SHA-256: NAME-fc266e95.pth (torchvision, timm),
# NAME-8ae85183_20200713.pth (MMPose 0) or NAME_42b7e6e6-20230207.pth (MMPose 1).
_DATE = r"20\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_HASHES = re.compile(rf"-([0-9a-f]{{8,64}})_{_DATE}\.|_([0-9a-f]{{8,64}})-{_DATE}\.")
_HASH_AT_END = re.compile(r"-([0-9a-f]{8,64})\.[a-z]")


def cache_folder() -> Path:
    """Return torch.hub's folder of checkpoints, without importing torch.

    $TORCH_HOME moves it, as for torch itself.
    """
    if hub := sys.modules.get("torch.hub"):  # whose folder a program may have set
        return Path(hub.get_dir()) / "checkpoints"
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", f"{caches}/torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def hash_in_name(name: str) -> str:
    """Return the first digits of the SHA-256 that a published file's name carries, or nothing."""
    if found := _HASHES.search(name):
        return found[1] or found[2]
    found = _HASH_AT_END.search(name)
    return "" if found is None or re.fullmatch(_DATE, found[1]) else found[1]
