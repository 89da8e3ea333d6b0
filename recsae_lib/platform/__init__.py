"""What the method stands on; nothing here knows a recommender, a latent or a concept."""
