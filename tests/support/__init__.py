"""Shared helpers of the tests: servers, clients, databases and data."""
