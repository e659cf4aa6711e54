"""Who may run and who waits for whom: threads, gates, the ring that passes the turn, each ubatch's streams.

Threads are started and the clock is read in `runtime.py` only; the system is asked to wait in `gates.py`
only. No array is ever seen here.
"""
