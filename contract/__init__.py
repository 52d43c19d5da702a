"""The contract with browsers: generates its documents and its TypeScript types from the types of the server."""
