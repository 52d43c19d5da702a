"""Private servers for the tests, and what they need from the system."""
