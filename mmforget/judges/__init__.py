"""Judges: what rules, a local model or a remote one say of generated answers, as labels that metrics read."""
