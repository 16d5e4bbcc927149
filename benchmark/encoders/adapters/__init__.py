"""One module per kind of encoder, and what they share."""
