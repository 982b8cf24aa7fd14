"""Backbones: trunks of image classifiers as pose estimators use them."""
