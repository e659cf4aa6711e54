"""What every backend of a device with streams shares; a backend from another package may build on it too.

Here live the seam to a framework (`driver`), its streams and events, captures, cached memory readings and the
backend that is made of them. No framework is ever imported here.
"""
