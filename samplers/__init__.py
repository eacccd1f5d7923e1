"""Deciding which agent sessions to keep. The decision code follows; the package holds nothing yet."""
