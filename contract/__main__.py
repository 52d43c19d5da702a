"""`python -m contract`: writes docs/asyncapi.yaml, dashboard/contract.d.ts and dashboard/data/metrics.js."""

from contract import generated

if __name__ == "__main__":
    generated.write()
