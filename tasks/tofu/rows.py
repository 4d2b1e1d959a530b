"""TOFU's rows, as `mmforget.protocols.tofu` reads or makes them up."""

from mmforget.benchmark.rows import candidates
from mmforget.protocols.tofu.loader import describe, load, notes, refusals

__all__ = ["candidates", "describe", "load", "notes", "refusals"]
