"""Who may run and who waits for whom: threads, gates, the ring that passes the turn, and the streams of each ubatch.

`runtime.py` is the only place that spawns, waits and reads the clock. No array is ever seen here.
"""
