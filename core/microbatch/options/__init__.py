"""The options: their fields and defaults, where each value comes from, and the checks of arguments.

Nothing here knows what an option does.
"""
