"""Which leaf of a call is what: declared rules, what sizes say, and any part of the batch.

Here the arguments are read and sliced, never computed with or put together, and nothing runs.
"""
