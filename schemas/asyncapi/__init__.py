"""The streams described as AsyncAPI 3 (``document``), as YAML, and as a page for people."""
