"""Files from the internet: whole, checked, fetched once by however many processes ask for them.

Nothing here imports torch before a file has arrived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names

if TYPE_CHECKING:
    from posebench.downloads.cache import cache_folder, hash_in_name
    from posebench.downloads.fetching import download, download_cached
    from posebench.downloads.network import Patience, go_offline, is_offline
    from posebench.downloads.showing import Progress, Reporter, shown_by
    from posebench.downloads.state_dicts import download_state_dict

__all__ = [
    "Patience",
    "Progress",
    "Reporter",
    "cache_folder",
    "download",
    "download_cached",
    "download_state_dict",
    "go_offline",
    "hash_in_name",
    "is_offline",
    "shown_by",
]

__getattr__ = lazy_names(
    __name__,
    cache=("cache_folder", "hash_in_name"),
    fetching=("download", "download_cached"),
    network=("Patience", "go_offline", "is_offline"),
    showing=("Progress", "Reporter", "shown_by"),
    state_dicts=("download_state_dict",),
)
