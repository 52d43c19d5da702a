"""Small tools that every layer may use. Nothing here knows a database or a socket."""
