"""Distances and statistics of images and features, in numpy and scipy alone."""
