"""Layers and operations that at least two methods share: one module for each idea."""
