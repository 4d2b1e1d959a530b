"""One package a benchmark: its official files, its synthetic twin, its own metrics, and what its judges are asked."""
