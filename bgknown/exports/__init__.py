"""A built dataset in the formats of other libraries: one file per format, and what they share."""
