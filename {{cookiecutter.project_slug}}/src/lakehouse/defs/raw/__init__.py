"""Raw tables: assets, checks and schemas."""
