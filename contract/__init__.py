"""Generates the documents of the contract with browsers from the types that the server uses."""
