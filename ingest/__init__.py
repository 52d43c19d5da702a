"""Imports readings from files, only into databases whose tables are ours."""
