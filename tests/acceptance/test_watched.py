"""Every service as a process of its own, watched as Prometheus does it."""

import contextlib
import os
from collections.abc import Iterator

import pytest
from asked import free_ports, get
from events_made import issue_event, redemption_event
from eventually import eventually
from line import CHENGDU, send
from processes_run import QUICK, services_on
from scraped import scrape

from services import broker
from services.cli.running import Service
from services.embedded import Embedded, Servers
from services.ledger.migrate import migrate


@pytest.fixture
def servers(tmp_path_factory) -> Iterator[Servers]:
    with Embedded(tmp_path_factory.mktemp("w"), durable=False) as started:
        yield started


async def test_each_service_says_who_it_is_and_what_it_did_and_ends_when_told(servers, tmp_path):
    await migrate(servers.database_url)
    ports = dict(zip((service.value for service in Service), free_ports(len(Service)), strict=True))
    with contextlib.ExitStack() as stack:
        running = []
        for name, port in ports.items():
            # Once a second, for the verifier to find what came after it began.
            variables = {"VOUCHER_LEDGER_HEALTH_PORT": str(port), "VOUCHER_LEDGER_VERIFY_EVERY_HOURS": "0.0003"}
            services = stack.enter_context(services_on(servers, tmp_path / f"{name}.log", **{**QUICK, **variables}))
            services.start(name, name)
            running.append(services)
        redis = broker.connect(servers.redis_url)
        for name, port in ports.items():
            await eventually(lambda: ready(port), 60, f"{name} is ready")  # noqa: B023  awaited within
        await send(redis, issue_event("V0"), redemption_event("V0"))
        await redis.aclose()
        accepted = {"programme": CHENGDU, "outcome": "accepted", "code": ""}
        for name, metric, labels, wanted in (
            ("issued", "entries_total", {**accepted, "kind": "issued"}, 1),
            ("verifier", "verified_position", {"programme": CHENGDU}, 2),
            ("verifier", "verified", {"programme": CHENGDU}, 1),
            ("notifier", "position", {"programme": CHENGDU}, 2),
            ("notifier", "notifier_distance", {"programme": CHENGDU}, 0),
            ("notifier", "notifications_total", {"programme": CHENGDU}, 2),
            ("redeemed", "batch_events_count", {"kind": "redeemed"}, 1),
            ("exhausted", "stream_lag", {"stream": f"quota.exhausted:{CHENGDU}"}, 0),
            ("monitor", "stream_lag", {"stream": f"voucher.issued:{CHENGDU}"}, 0),
        ):
            await eventually(lambda: says(ports[name], metric, labels, wanted), told=f"{name}: {metric} {wanted}")  # noqa: B023  the same
        for name, port in ports.items():
            (service,) = (await scrape(port)).labels("service")
            assert service["name"] == name
        pids = {name: services.running[name].pid for services, name in zip(running, ports, strict=True)}
        mine = os.getpriority(os.PRIO_PROCESS, 0)
        gives_way = {name for name, pid in pids.items() if os.getpriority(os.PRIO_PROCESS, pid) > mine}
        assert gives_way == {"verifier", "monitor"}
        assert [status for services in running for status in services.end()] == [0] * len(ports)


async def ready(port: int) -> bool:
    return (await get(port, "/readyz"))[0] == 200


async def says(port: int, metric: str, labels: dict[str, str], wanted: float) -> bool:
    return (await scrape(port)).value(metric, **labels) == wanted
