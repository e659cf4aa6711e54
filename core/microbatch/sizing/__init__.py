"""How large a part may be: the policy is asked, its answer is bounded, what it learned is kept.

Nothing here runs a function or reads a device; policies themselves are plugins.
"""
