"""The project's own checks of names, sizes and import cycles; `make lint` runs them with ruff, mypy, tach and tsc."""
