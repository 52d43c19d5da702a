"""The simulated site: three organisations whose storehouses behave like real ones, and a month of their past."""
