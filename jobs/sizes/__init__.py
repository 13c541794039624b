"""Photographs of odd sizes, and what completing them costs."""
