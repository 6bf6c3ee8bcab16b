"""One meter a file."""
