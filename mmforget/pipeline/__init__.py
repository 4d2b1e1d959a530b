"""The stages of a run, each resumable: target and retain model, unlearning, evaluation, leaderboard."""
