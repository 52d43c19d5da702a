"""The simulated site: three organisations whose storehouses behave like real ones, with a month of history."""
