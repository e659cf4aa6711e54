"""Drawn attacks on the library, in numbers that anyone can run again: `python -m tests.campaign`.

A part (`parts.py`) is one idea of how to attack. Its module draws cases by number; a child process runs them
(`child.py`), is watched (`watched.py`), and compares what it was with what it is afterwards (`leftovers.py`).
"""
