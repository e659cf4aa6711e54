"""microbatch: run one step as micro-batches, on any array framework."""
