"""Deciding which agent sessions to keep. Nothing is here yet."""
