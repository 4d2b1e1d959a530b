"""What `tools/fuzz.py` damages, one module a kind of input."""
