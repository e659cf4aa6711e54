"""What the host has: files of `/proc`, control groups, cores.

The one reader for core, backends and the command line.

Nothing here decides anything from what it read.
"""
