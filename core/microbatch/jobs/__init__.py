"""A function over all rows of an input, into an output: the loop, and what lets it go on later.

Nothing here knows a format of files, or the command line.
"""
