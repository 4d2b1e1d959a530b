"""Metrics of UnLOK-VQA alone, one file each, registered under their file names as those of `mmforget.metrics` are."""
