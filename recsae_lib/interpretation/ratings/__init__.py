"""Human rating: a sample of concepts, a page to rate them on, the files that come back, and what they say."""
