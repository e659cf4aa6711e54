"""The `cpu` backend, and the base that `torch-cpu` shares with it. No framework is imported here."""
