"""Procedural twins of the benchmarks: people, faces and facts that exist nowhere, drawn and written from a seed."""
