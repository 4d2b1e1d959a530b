"""Run records: what a run used and found, written atomically, read back strictly, scored again without a model."""
