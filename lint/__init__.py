"""The project's own checks of names, sizes and import cycles.

`make lint` runs these checks, and also ruff, mypy, tach and tsc.
"""
