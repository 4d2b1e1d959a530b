"""RWKU's rows, as `mmforget.protocols.rwku` reads or makes them up."""

from mmforget.protocols.rwku.loader import describe, load, notes

__all__ = ["describe", "load", "notes"]
