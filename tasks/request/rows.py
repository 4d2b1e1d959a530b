"""A request's rows, as `mmforget.protocols.request` reads or makes them up."""

from mmforget.benchmark.rows import candidates
from mmforget.protocols.request.loader import describe, load, notes

__all__ = ["candidates", "describe", "load", "notes"]
