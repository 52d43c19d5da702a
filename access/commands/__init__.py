"""The commands of `python -m access`, a file each."""
