"""MedForget's rows, as `mmforget.protocols.medforget` reads or makes them up."""

from mmforget.protocols.medforget.loader import describe, load, notes
from mmforget.protocols.medforget.processing import process

__all__ = ["describe", "load", "notes", "process"]
