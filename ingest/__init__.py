"""Doors by which readings come in: a table in a file. Only databases whose tables are ours."""
