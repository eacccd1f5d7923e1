"""Attribute dialects of the instrumentations in the wild, as data."""
