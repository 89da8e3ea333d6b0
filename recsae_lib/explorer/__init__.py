"""The page that every audit leaves behind: what was found, concept by concept, to be looked at in a browser."""
