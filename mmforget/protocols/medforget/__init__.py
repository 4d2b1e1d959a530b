"""MedForget (arXiv 2512.09867): hospital data in a hierarchy, of which a part at any level is forgotten."""
