"""What is kept: the schema, jobs, takes and media."""
