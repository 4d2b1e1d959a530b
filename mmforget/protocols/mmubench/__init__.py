"""MMUBench (arXiv 2405.12523): a concept that is no longer to be recognised in pictures."""
