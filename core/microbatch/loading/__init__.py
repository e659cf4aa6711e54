"""Finding plugins, checking what they announce, building what is asked for by name.

Private: plugins use `extend`.

Nothing here is on the way of a step; a backend and a policy are looked up when a wrapper is built.
"""
