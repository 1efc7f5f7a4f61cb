"""Decide what runs, as plain data."""
