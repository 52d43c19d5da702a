"""Access control: authentication, roles, visibility and the audit trail."""
