"""What is kept and shown: the result document, statistics, tables and reports."""
