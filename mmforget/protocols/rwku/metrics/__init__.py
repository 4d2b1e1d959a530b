"""Metrics of RWKU's own; the registry finds them here."""
