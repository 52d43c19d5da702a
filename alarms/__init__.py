"""Alarms judged: rules and readings in, episodes out. Pure: no socket, no clock, no database."""
