"""The dashboard: one page, its modules and styles, and the routes that serve them."""
