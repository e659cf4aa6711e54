"""Sizes from speed: the smallest part within a few percent of the best rate, learned step by step."""
