"""Whether a function may be cut: trial cuts compared with the whole call, and the state its modules show.

Nothing here runs a user's step: a check works on copies, and what is watched during a step is only read.
"""
