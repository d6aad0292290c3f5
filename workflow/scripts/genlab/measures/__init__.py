"""Distances and statistics of images and features, in numpy and scipy alone."""

from .frechet import calculate_fid_score

__all__ = ["calculate_fid_score"]
