"""Seeing graphs and runs. It reads graphs and events, and runs nothing."""
