"""SafeEraser's rows, as `mmforget.protocols.safe_eraser` reads or makes them up."""

from mmforget.protocols.safe_eraser.loader import describe, load, notes, refusals

__all__ = ["describe", "load", "notes", "refusals"]
