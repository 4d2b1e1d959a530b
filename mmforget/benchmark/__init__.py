"""Benchmarks as documents: what `metadata.unlearning` may say, where task files are found, and the Rows they load."""

from __future__ import annotations

from mmforget.benchmark.find import catalogue, find, find_all
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Benchmark, Bound, TaskSpec
from mmforget.benchmark.validate import Report, validate

__all__ = ["Benchmark", "Bound", "DataSource", "Report", "TaskSpec", "catalogue", "find", "find_all", "validate"]
