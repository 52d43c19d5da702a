"""Polls the sensor database, keeps the newest readings and the rollups, and pushes changes to browsers."""
