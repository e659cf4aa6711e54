"""Who may run and who waits for whom: threads, gates, the ring that passes the turn, each ubatch's streams.

Only `runtime.py` starts threads and reads the clock, only `gates.py` waits. No array is ever seen here.
"""
