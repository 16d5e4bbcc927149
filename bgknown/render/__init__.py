"""Renderers: from the record of a soundscape to audio and JAMS."""
