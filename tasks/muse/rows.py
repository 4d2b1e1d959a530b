"""MUSE's rows, as `mmforget.protocols.muse` reads or makes them up."""

from mmforget.benchmark.rows import candidates
from mmforget.protocols.muse.loader import describe, load, notes

__all__ = ["candidates", "describe", "load", "notes"]
