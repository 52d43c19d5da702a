"""Benchmarks of Storewatch and comparable servers. `make bench` runs all, `python -m bench SUBJECT ...` runs some."""
