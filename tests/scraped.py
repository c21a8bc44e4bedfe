"""Asking a service for its metrics over HTTP, as Prometheus does."""

from asked import get
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scrape:
    """One answer of ``/metrics``."""

    def __init__(self, text: str) -> None:
        self._samples: Samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """Return what a series says, None where it is not there. Names go without their prefix."""
        return self._samples.get((f"voucher_ledger_{name}", frozenset(labels.items())))

    def labels(self, name: str) -> list[dict[str, str]]:
        """Return the labels of each series of a name."""
        return [dict(labels) for sample, labels in self._samples if sample == f"voucher_ledger_{name}"]


async def scrape(port: int) -> Scrape | None:
    """Return the metrics, None while nobody listens."""
    status, _, body = await get(port, "/metrics")
    return Scrape(body) if status == 200 else None
