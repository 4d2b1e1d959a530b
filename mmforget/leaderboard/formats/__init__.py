"""Leaderboards in the formats of other programs, a file a format."""
