"""The public seam: what a backend or policy author implements, announces and is given.

Only protocols, records, hooks and small bases are here; how plugins are found is in `loading`.
"""
