"""Putting the outputs of the parts together, row by row, and the one loop that cuts, calls and gathers.

Here nothing decides how large a part is or in which thread it runs.
"""
