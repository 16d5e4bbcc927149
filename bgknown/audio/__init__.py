"""Audio files, loudness and sources: everything that reads or writes samples."""
