"""Input and output files of the command line, read and written by parts.

Nothing here knows a function or a size.
"""
