"""The one training loop, its saved state, and what every training stage shares."""
