"""From audio and texts to cached embeddings."""
