"""Metrics of OFFSIDE, named as in its paper and code."""
