"""Runs the judge (the component that evaluates alarm rules), and handles the alarm actions of users."""
