"""Published facts as tables; read with ``importlib.resources.files("data_manifests")``. README.md says what is what."""
