"""Checks of our own that `make lint` runs beside ruff, mypy, tach and tsc: names, sizes and import cycles."""
