"""The contract: what crosses a boundary, as types. Pydantic and the standard library only; no input or output."""
