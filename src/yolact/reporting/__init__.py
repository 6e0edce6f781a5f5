"""Pages that show how a model works: one file each, nothing fetched."""
