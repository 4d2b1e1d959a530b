"""RWKU (arXiv 2406.10890): famous people of whom a language model that knows them forgets one, or several."""
