"""The commands of `python -m alarms`, one file for each command."""
