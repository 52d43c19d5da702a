"""The HTTP pages besides the dashboard: health, metrics and login, and the security headers of all answers."""
