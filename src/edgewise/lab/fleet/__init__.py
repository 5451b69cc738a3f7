"""Devices, tiers and their share of users."""
