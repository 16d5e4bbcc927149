"""Pages of results that open from disk: the leaderboard with its predictions, and the difference map.

They show what other modules have computed; nothing is computed here that a command does not print.
"""
