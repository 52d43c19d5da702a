"""Measures this server and its peers in one run: `make bench`, or `python -m bench SUBJECT ...` for some of it."""
