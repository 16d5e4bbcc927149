"""JAMS files of the ``scaper`` namespace: read into soundscapes (``reading``) and written (``writing``)."""
