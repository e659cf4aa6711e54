"""Batches in files: reading the inputs of a step, and writing its result so that it is whole or not there."""
