"""Unlearning methods: `losses.py` holds pure functions of tensors, every other file is one method."""
