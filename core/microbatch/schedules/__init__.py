"""The orders in which the ubatches of a step run."""
