"""Installed plugins: found by metadata, loaded when asked for, named when broken. Imports no torch."""
