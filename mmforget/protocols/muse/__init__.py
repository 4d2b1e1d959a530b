"""MUSE: documents to forget, and what is left of them word for word, as knowledge and as membership."""
