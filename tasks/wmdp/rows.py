"""WMDP's rows, as `mmforget.protocols.wmdp` reads or makes them up."""

from mmforget.protocols.wmdp.loader import describe, load, notes

__all__ = ["describe", "load", "notes"]
