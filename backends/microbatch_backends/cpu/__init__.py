"""The `cpu` backend, and what every backend that computes on the host shares with it."""
