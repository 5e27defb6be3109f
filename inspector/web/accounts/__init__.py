"""Who uses the desk: names, roles, passwords, sessions, tokens, and how often one may fail."""
