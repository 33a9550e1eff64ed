"""Fused ops, each with its readable reference beside it."""
