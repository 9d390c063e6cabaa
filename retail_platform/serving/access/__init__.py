"""Who may ask, and how much: users, keys, tokens, roles and rate limits."""
