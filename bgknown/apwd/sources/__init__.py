"""The source tree that APwD's JAMS name: selection, trimming, preparation."""
