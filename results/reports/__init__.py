"""Results for other readers: JUnit for CI, Markdown for reviews, CSV for spreadsheets, HTML for people."""
