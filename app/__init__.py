"""Builds all parts of the server from the settings, starts them, and stops them in reverse order."""
