"""Bitstreams: from a board's file to a folder with everything that its host needs, by open
tools.
"""

from .flow import BuildResult, build
from .progress import Listener, Standing

__all__ = ["BuildResult", "Listener", "Standing", "build"]
