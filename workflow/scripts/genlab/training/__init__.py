"""The training loop, its saved state, and what all training stages share."""
