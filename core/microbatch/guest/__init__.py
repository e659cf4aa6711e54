"""How a wrapper stands where the function or module stood: its attributes, methods, copies and pickles.

Nothing here knows how a step runs.
"""
