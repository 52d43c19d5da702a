"""Writes docs/asyncapi.yaml, dashboard/contract.d.ts and dashboard/data/metrics.js: `python -m contract`."""

from contract import generated

if __name__ == "__main__":
    generated.write()
