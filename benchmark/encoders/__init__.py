"""The kinds of encoders, one file each."""
