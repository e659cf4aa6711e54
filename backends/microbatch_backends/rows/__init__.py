"""Rows of what is no array: tables and columns, labelled arrays, sparse matrices.

A module is imported when the first object of its library is met. Each class is a `Rows` of
`microbatch.extend.protocols`, made of a few calls of the library itself.
"""
