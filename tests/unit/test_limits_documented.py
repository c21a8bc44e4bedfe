"""The page on limits tells each with the figure that the code has."""

import re
from pathlib import Path

from services.consumers import claims, deadletters, intake
from services.ledger import loading
from services.ledger.append import Limits
from services.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
CONSTANTS = {
    "UNDECIDABLE_MAX": intake.UNDECIDABLE_MAX,
    "DETAIL_LENGTH_MAX": deadletters.DETAIL_LENGTH_MAX,
    "DELIVERIES_AT_FULL_SIZE": claims.DELIVERIES_AT_FULL_SIZE,
    "CATCH_UP_MAX": loading.CATCH_UP_MAX,
    "Limits.quotas_max": Limits().quotas_max,
}
SETTINGS = {
    "ENTRY_BYTES_MAX", "BATCH_SIZE", "PARKED_MAX", "PARKED_PER_PROVIDER_MAX", "WAIT_HOURS", "DEAD_LETTERS_MAX",
    "DEAD_LETTER_SHARE_MAX", "DEAD_LETTER_SHARE_OF", "VOUCHERS_IN_MEMORY_MAX", "DATABASE_CONNECTIONS_MAX",
    "RETRY_SECONDS_MAX", "CLAIM_IDLE_SECONDS", "GRACEFUL_SECONDS", "NOTIFY_BATCH_SIZE",
}  # fmt: skip


def documented() -> dict[str, float]:
    """Return the figures of the table by the names beside them; a share is told in per cent."""
    found: dict[str, float] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) < 6 or "---" in cells[1]:
            continue
        figures = [float(figure.replace(",", "")) for figure in re.findall(r"[0-9][0-9,.]*", cells[2])]
        for name, figure in zip(re.findall(r"`([A-Za-z_.]+)`", cells[3]), figures, strict=False):
            found[name] = figure / 100 if name.endswith("SHARE_MAX") else figure
    return found


def test_each_limit_is_told_as_it_is():
    told = documented()
    assert told.keys() >= SETTINGS | CONSTANTS.keys()
    for name in SETTINGS:
        assert told[name] == Settings.model_fields[name.lower()].default, name
    for name, value in CONSTANTS.items():
        assert told[name] == value, name


def test_the_defaults_without_settings_are_those_of_the_settings():
    fields = Settings.model_fields
    assert Limits().parked_max == fields["parked_max"].default
    assert Limits().parked_per_provider_max == fields["parked_per_provider_max"].default
    assert all(value == fields[name].default for name, value in intake.Limits()._asdict().items())
