"""Questions about any array or tree of arrays of any framework: what it is, where it lies, what it equals.

Nothing here knows a layout, a batch or which axis has rows, and no framework but NumPy is ever imported.
"""
