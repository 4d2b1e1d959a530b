"""FIUBench's rows, as `mmforget.protocols.fiubench` reads or makes them up."""

from mmforget.benchmark.rows import candidates
from mmforget.protocols.fiubench.loader import describe, load, notes, refusals

__all__ = ["candidates", "describe", "load", "notes", "refusals"]
