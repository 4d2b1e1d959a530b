"""UnLOK-VQA's rows, as `mmforget.protocols.unlok_vqa` reads or makes them up."""

from mmforget.benchmark.rows import candidates
from mmforget.protocols.unlok_vqa.loader import describe, load, notes
from mmforget.protocols.unlok_vqa.processing import process_prob

__all__ = ["candidates", "describe", "load", "notes", "process_prob"]
