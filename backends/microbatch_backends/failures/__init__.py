"""What an error means for retrying: a table of texts and types, and the search through a chain of causes."""
