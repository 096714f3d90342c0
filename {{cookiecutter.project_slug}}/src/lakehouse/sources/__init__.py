"""Where files come from: the publisher's site, a folder, a bucket or a SQL database."""
