"""Heads: a learned subtraction for any frozen encoder, from [y_mix, y_bg] to the embedding of the clean foreground."""
