"""Evaluation: which tasks, run on a model, turned into samples, numbers, a headline and a verdict."""
