"""Sizes from memory: peak bytes learned from what ran, bounded from one side."""
