"""Metrics of TOFU's own; the registry finds them here."""
