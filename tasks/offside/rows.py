"""OFFSIDE's rows, as `mmforget.protocols.offside` reads or makes them up."""

from mmforget.protocols.offside.loader import describe, load, notes, shown
from mmforget.protocols.offside.processing import process, process_choice

__all__ = ["describe", "load", "notes", "process", "process_choice", "shown"]
