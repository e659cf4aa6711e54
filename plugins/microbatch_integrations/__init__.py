"""Ready lines for libraries that people run big batches through.

Each module is light: it imports its library when it is called, and of ours the public names only. Never a
backend, a policy or anything private of core.
"""
