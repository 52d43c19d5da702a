"""Engine.IO over Tornado, as `transport.py` needs it: its requests, its sessions, and the door before them."""
