"""Where files come from: the publisher's site or a folder."""
