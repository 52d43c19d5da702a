"""Evaluates alarm rules on readings and returns alarm episodes.

Only the command line in `__main__.py` and `commands/` uses a clock, a database or files.
"""
