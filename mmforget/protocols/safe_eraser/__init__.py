"""SafeEraser (arXiv 2502.12520): harmful answers about pictures, forgotten without refusing harmless questions."""
