"""Who may do what: certificates of a plant, the identities in them, and the roles of people and programs."""
