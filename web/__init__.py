"""What HTTP serves besides the dashboard: health, metrics and login pages, and the security headers of all."""
