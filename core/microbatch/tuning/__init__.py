"""Throughput and memory of a function, measured against the size of a part, to name the size to configure.

Nothing here is part of a user's step.
"""
