"""What the host has (files of `/proc`, control groups, cores), read here for core, backends and command line.

Nothing here decides anything from what it read.
"""
