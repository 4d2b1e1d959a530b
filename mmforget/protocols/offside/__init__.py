"""OFFSIDE (arXiv 2510.22535): rumours about football transfers, to be forgotten by players' pictures."""
