"""The running judge, and what people do about alarms."""
