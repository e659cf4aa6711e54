"""The command line: what each command asks, says and prints.

Nothing here computes what a Python caller could not have: each command calls a public function.
"""
