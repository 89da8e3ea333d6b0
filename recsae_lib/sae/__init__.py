"""The sparse autoencoder: model and losses (pure), training, evaluation, storage, encoding; knows nothing of Spark."""
