"""Rows of results, run folders, the leaderboard, comparisons and statistics."""
