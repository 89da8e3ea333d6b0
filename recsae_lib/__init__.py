"""What a recommender has learned, as tables: sparse autoencoders on user representations."""

__version__ = "0.1.0"
