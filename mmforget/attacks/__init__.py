"""Attempts to get a forgotten answer back, one file an attack; `base` says what an attack is."""
