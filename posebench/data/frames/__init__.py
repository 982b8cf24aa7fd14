"""Frames of anything that has pixels: images, films, cameras and streams, read in the background.

`sources` finds what the user named, `streams` opens addresses and opens them again when they break,
`reading` decodes ahead of the network in threads.
"""

from posebench.data.frames.reading import Frame, FrameReader
from posebench.data.frames.sources import Source, collect_sources, picture_folders

__all__ = ["Frame", "FrameReader", "Source", "collect_sources", "picture_folders"]
