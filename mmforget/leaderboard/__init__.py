"""From run records to a leaderboard: who may stand on it, in which order, as table, JSON, picture and page."""
