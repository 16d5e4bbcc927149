"""benchmark: measures any audio encoder on difference-aware and general tasks."""
