"""Evaluates alarm rules on readings and returns alarm episodes (violations of a limit, from start to end).

In this package, only the command line (`__main__.py` and `commands/`) uses a clock, a database or files.
"""
