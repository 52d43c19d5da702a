"""Private servers for the tests, and the script that installs their programs."""
