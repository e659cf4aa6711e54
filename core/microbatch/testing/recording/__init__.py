"""The recording device: who touched which bytes, in which order, and what was not ordered."""
