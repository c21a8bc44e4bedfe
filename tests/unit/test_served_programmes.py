"""Which programmes a consumer serves: those that the settings name, and all that its providers redeem for."""

from pathlib import Path

import pytest

from services.consumers import issued, redeemed
from services.programmes import SHIPPED
from services.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two programmes of Chengdu, which accredit the same providers, and one of Henan."""
    chengdu = (SHIPPED / "chengdu-2024.toml").read_text(encoding="utf-8")
    (tmp_path / "chengdu-2024.toml").write_text(chengdu, encoding="utf-8")
    later = chengdu.replace('code = "chengdu-2024"', 'code = "chengdu-2025"')
    (tmp_path / "chengdu-2025.toml").write_text(later, encoding="utf-8")
    henan = (SHIPPED / "henan-2023-2024.toml").read_text(encoding="utf-8")
    (tmp_path / "henan-2023-2024.toml").write_text(henan, encoding="utf-8")
    return tmp_path


def settings(folder: Path) -> Settings:
    chosen = frozenset({"chengdu-2024"})
    return Settings(
        database_url="postgresql://unused", redis_url="redis://unused", programmes_dir=folder, programmes=chosen
    )


def test_a_provider_s_stream_is_served_for_every_programme_that_accredits_it(folder: Path) -> None:
    consumer = redeemed.build(settings(folder))
    assert {stream.provider for stream in consumer.streams} == {"91510100MA0000001L", "91510100MA0000002P"}
    assert consumer.policies.keys() == {"chengdu-2024", "chengdu-2025"}


def test_an_authority_s_stream_is_of_its_programme_alone(folder: Path) -> None:
    consumer = issued.build(settings(folder))
    assert [stream.key for stream in consumer.streams] == ["voucher.issued:chengdu-2024"]
    assert consumer.policies.keys() == {"chengdu-2024"}
