"""Where files come from: the publisher's site, a folder or a SQL database."""
