"""Models that are functions: honest ones and cheats, answering a benchmark's own questions without any network."""
