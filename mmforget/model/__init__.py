"""Models: loading, quantising, LoRA, families, scoring on shared prefixes, generation, and the embedded micro models."""
