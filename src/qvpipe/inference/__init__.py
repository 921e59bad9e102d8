"""What a trained ensemble is used for."""
