"""pretrain: trains BYOL-A and its difference-aware extension."""
