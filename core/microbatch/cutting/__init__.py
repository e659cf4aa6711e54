"""Where a batch is cut: pure functions over whole numbers and cumulative lengths.

No array of the user's, no device and no policy is ever seen here.
"""
