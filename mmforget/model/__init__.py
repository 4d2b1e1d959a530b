"""Models: loading, quantising, LoRA, families, scoring on shared prefixes, generation, micro models."""
