"""The simulated site: three organisations with realistic storehouses and a month of history."""
