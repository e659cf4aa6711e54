"""May a function be cut: trial cuts compared with the whole call, and the state that a module shows.

Nothing here runs a user's step; a proof works on copies, apart from it.
"""
