"""The settings: read from the environment and from files, and told in the documentation as they are."""

import ast
import inspect
from pathlib import Path

import pytest
from pydantic import AliasChoices

from services.broker import connection_options
from services.settings import PREFIX, Settings, SettingsError, read_settings

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


def documented() -> list[str]:
    """Return the table's rows as the settings say them of themselves."""
    (body,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(body, ast.ClassDef)
    told = {
        field.target.id: text.value.value
        for field, text in zip(body.body, body.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }
    rows = []
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        variable = alias.choices[0] if isinstance(alias, AliasChoices) else PREFIX + name.upper()
        default = "host name and process id" if field.default_factory else field.default
        rows.append(f"| `{variable}` | {'' if default in {None, frozenset()} else default} | {told[name]} |")
    return rows


def test_the_documentation_tells_every_setting_with_its_default() -> None:
    table = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert table == documented()


def test_a_secret_is_read_from_the_file_that_the_variable_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://ledger:s3cret@db/ledger\n", encoding="utf-8")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL_FILE", str(secret))
    monkeypatch.setenv("VOUCHER_LEDGER_MIGRATION_DATABASE_URL_FILE", str(secret))
    settings = read_settings()
    assert settings.require_database_url() == "postgresql://ledger:s3cret@db/ledger"
    assert settings.migration_database_url == "postgresql://ledger:s3cret@db/ledger"


def test_a_secret_s_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "nothing"))
    with pytest.raises(SettingsError, match=r"REDIS_URL_FILE names .*nothing"):
        read_settings()


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOUCHER_LEDGER_PROGRAMMES", "chengdu-2024, henan-2023-2024,")
    assert read_settings().programmes == {"chengdu-2024", "henan-2023-2024"}


@pytest.mark.parametrize(("variable", "value"), [("BATCH_SIZE", "0"), ("READERS", "many"), ("BLOCK_MS", "60000")])
def test_a_wrong_setting_is_named(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + variable, value)
    with pytest.raises(SettingsError, match=variable.lower()):
        read_settings()


def test_what_is_missing_is_named() -> None:
    settings = Settings(database_url=None, redis_url=None)
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        settings.require_database_url()
    with pytest.raises(SettingsError, match="REDIS_URL"):
        settings.require_redis_url()


def test_a_request_waits_for_the_disk_for_less_long_than_the_broker_may_take_to_answer() -> None:
    """Otherwise its line would be cut, and what it sent be sent a second time."""
    (most,) = (one.le for one in Settings.model_fields["durable_seconds_max"].metadata if hasattr(one, "le"))
    assert most < connection_options()["socket_timeout"]
