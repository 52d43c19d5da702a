"""The commands of `python -m alarms`, a file each."""
