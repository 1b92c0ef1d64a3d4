"""Bitstreams: from a board's file to a folder with all that the board's host needs.

Everything is made by open tools: Yosys, nextpnr and their packers.
"""

from .flow import BuildResult, build
from .progress import Listener, Standing

__all__ = ["BuildResult", "Listener", "Standing", "build"]
