"""Item features that are derived: of years, of popularity, of attributes."""
