"""What runs gave, for people: summaries, tables, and a page that needs nothing but itself."""
