"""BgKnown mixtures: recipe, draw, mixing, build, dataset and verification."""
