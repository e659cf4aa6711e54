"""Captured calls: which graph fits a call, how many are kept, and how a call is replayed.

Nothing here knows a framework: backends capture and replay.
"""
