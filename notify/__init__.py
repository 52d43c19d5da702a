"""From an alarm to a person: notices become messages, and messages go out."""
