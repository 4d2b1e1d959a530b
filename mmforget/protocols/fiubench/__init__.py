"""FIUBench (arXiv 2411.03554): fictional people and private facts about each, forgotten person by person."""
