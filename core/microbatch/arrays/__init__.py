"""What is asked of any array or tree of arrays, whatever framework it is from: its kind, memory, values and structure.

Here is no layout and no batch: nothing knows which axis has rows. No framework but NumPy is ever imported.
"""
