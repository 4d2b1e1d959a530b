"""Made-up answers of made-up subjects with known truth, and how often intervals hold it."""
