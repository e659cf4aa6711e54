"""Captured calls: which graph fits a call, how many are kept, and how a call is replayed."""
