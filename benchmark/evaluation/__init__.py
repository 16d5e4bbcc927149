"""From a task's embeddings to scores and predictions, one module for each kind of probe."""
