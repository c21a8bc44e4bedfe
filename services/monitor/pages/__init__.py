"""The pages, one module each: what it shows of the sample or asks the ledger, and how it is kept up to date."""
