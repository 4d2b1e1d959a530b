"""TOFU (arXiv 2401.06121): fictitious authors of whom a language model forgets the last ones."""
