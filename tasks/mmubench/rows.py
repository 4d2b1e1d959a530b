"""MMUBench's rows, as `mmforget.protocols.mmubench` reads or makes them up."""

from mmforget.benchmark.rows import candidates
from mmforget.protocols.mmubench.loader import concepts, describe, load, notes, refusals

__all__ = ["candidates", "concepts", "describe", "load", "notes", "refusals"]
