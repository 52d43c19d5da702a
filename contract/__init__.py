"""Generates the protocol's documents and TypeScript types from the types of the server."""
