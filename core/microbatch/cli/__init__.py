"""The command `microbatch`; nothing else of microbatch imports this package."""
