"""Notifications: turns the notices of alarms into messages and sends them to the targets."""
