"""The settings: from the environment, with the prefix VOUCHER_LEDGER_, but DATABASE_URL and REDIS_URL as they are usual.

A variable's name with _FILE behind it names a file that holds the value, for secrets. Settings are passed on, not imported.
"""

import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from schemas.decoding import told
from services.passwords import check_url

PREFIX = "VOUCHER_LEDGER_"


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names the variable."""


class _FromFiles(PydanticBaseSettingsSource):
    """Values from the files that ``…_FILE`` variables name."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        alias = field.validation_alias
        name = str(alias.choices[0]) if isinstance(alias, AliasChoices) else PREFIX + field_name.upper()
        path = os.environ.get(f"{name}_FILE")
        if not path:
            return None, field_name, False
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(f"{name}_FILE names {path}, which cannot be read: {error.strerror}") from None
        return value, name if alias else field_name, False

    def __call__(self) -> dict[str, Any]:
        found = (self.get_field_value(field, name) for name, field in self.settings_cls.model_fields.items())
        return {name: value for value, name, _ in found if value is not None}


class Settings(BaseSettings):
    """What an operator can set. Times say their unit in their name."""

    # What is wrong may be a secret.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )

    database_url: str | None = Field(default=None, validation_alias=AliasChoices("DATABASE_URL"))
    """PostgreSQL, as the services' own login."""
    migration_database_url: str | None = None
    """The same database as a login that may make tables and roles; DATABASE_URL where there is none of its own."""
    redis_url: str | None = Field(default=None, validation_alias=AliasChoices("REDIS_URL"))
    """Redis or Valkey."""

    programmes_dir: Path | None = None
    """A folder of policy files (one TOML a programme) instead of the shipped ones."""
    programmes: Annotated[frozenset[str], NoDecode] = frozenset()
    """The programmes to serve, separated by commas; all when empty. A provider's redemptions are served for all that accredit it."""
    providers: Annotated[frozenset[str], NoDecode] = frozenset()
    """The providers (USCC) whose streams to read, separated by commas; all accredited ones when empty."""

    consumer_name: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    """The name that a consumer has in its group; each process needs one of its own."""
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 2_000
    """Events in one read, and so at most in one transaction."""
    readers: Annotated[int, Field(ge=1, le=16)] = 3
    """Readers of each stream in a process: while one's batch is committed, and another's put among the dead letters, a third is read."""
    block_ms: Annotated[int, Field(ge=10, le=4_000)] = 1_000
    """How long one read waits for an event; under the client's socket timeout."""
    claim_idle_seconds: Annotated[float, Field(gt=0, le=3_600)] = 15
    """A batch that a consumer holds this long without acknowledging is taken over."""
    claim_every_seconds: Annotated[float, Field(gt=0, le=3_600)] = 5
    """How often a consumer looks for batches to take over."""
    wait_hours: Annotated[float, Field(ge=0, le=8_784)] = 24
    """How long a redemption waits for its voucher."""
    expire_every_seconds: Annotated[float, Field(gt=0, le=3_600)] = 30
    """How often waits that are over are looked for."""
    keep_days: Annotated[float, Field(ge=0, le=36_500)] = 7
    """Days for which acknowledged entries stay on the inbound streams: longer than from one backup to the next."""
    trim_every_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60
    """How often a consumer looks for entries that were kept long enough."""
    retry_seconds_max: Annotated[float, Field(gt=0, le=300)] = 5
    """The longest pause between two tries while the database or the broker is away."""
    graceful_seconds: Annotated[float, Field(gt=0, le=600)] = 15
    """How long a service that was told to stop may take to finish the batch in flight."""
    vouchers_in_memory_max: Annotated[int, Field(ge=1_000, le=100_000_000)] = 1_000_000
    """Vouchers that a process keeps in memory for each programme."""
    entry_bytes_max: Annotated[int, Field(ge=4_096, le=1_048_576)] = 65_536
    """Bytes of an event; a longer one is a dead letter."""
    parked_max: Annotated[int, Field(ge=0, le=100_000_000)] = 1_000_000
    """Redemptions of a programme that wait for their vouchers; one more is refused at once."""
    parked_per_provider_max: Annotated[int, Field(ge=0, le=100_000_000)] = 100_000
    """Redemptions of one provider in a programme that wait for their vouchers; one more is refused at once."""
    dead_letters_max: Annotated[int, Field(ge=1, le=100_000_000)] = 500_000
    """Dead letters that are kept; a stream that has one more is held. Streams with many may fill four fifths of it."""
    dead_letter_share_max: Annotated[float, Field(gt=0, le=1)] = 0.998
    """A stream is held when so much of what it brought lately would be dead letters; 1 lets everything through."""
    dead_letter_share_of: Annotated[int, Field(ge=10, le=1_000_000)] = 5_000
    """How many of its last entries a stream is judged by for that."""
    database_connections_max: Annotated[int, Field(ge=2, le=100)] = 8
    """Connections that a process opens to the database at the most."""
    notify_poll_seconds: Annotated[float, Field(gt=0, le=10)] = 0.02
    """How often the notifier looks for new entries when there are none; eight times as often while they come."""
    notify_batch_size: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Notifications written in one go."""
    keep_notifications: Annotated[int, Field(ge=1)] | None = None
    """Notifications that stay on each programme's stream, the newest ones; all of them when not set."""
    health_host: str = "127.0.0.1"
    """The address that /livez, /readyz and /metrics are bound to."""
    health_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """Where /livez, /readyz and /metrics answer; nowhere when not set. With `up`, the first service's, and the others' are the next."""
    tracing: bool = False
    """Send spans to an OpenTelemetry collector (OTEL_EXPORTER_OTLP_ENDPOINT), of events whose `traceparent` says that they are sampled."""
    trace_share: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The share of those events that is traced, chosen by their trace's id: every service chooses the same ones."""
    verify_every_hours: Annotated[float, Field(gt=0)] = 24
    """How long until the verifier verifies a ledger again. One that is new does not wait."""
    monitor_host: str = "127.0.0.1"
    """The address that the monitor, with the HTTP API, is bound to."""
    monitor_port: Annotated[int, Field(ge=0, le=65_535)] = 8420
    """The port of the monitor; `up` takes another one where this one is taken. 0 is any that is free."""
    keys_file: Path | None = None
    """The keys of the HTTP API and the monitor (`voucher-ledger keys`). Without it this host may read, and nobody may send."""
    body_bytes_max: Annotated[int, Field(ge=1_024)] = 4_194_304
    """The largest body that the HTTP API takes."""
    posted_events_max: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    """Events in one request at the most."""
    durable_seconds_max: Annotated[float, Field(ge=0.01, le=8)] = 3
    """How long a request waits for the broker to have its events on the disk; less than the 10 s that any answer of the broker may take."""
    readmodel_poll_seconds: Annotated[float, Field(gt=0, le=60)] = 0.5
    """How often the monitor looks for new entries to take into the read model."""
    log_level: str = "info"
    """debug, info, warning or error."""
    log_json: bool | None = None
    """JSON lines; when not set, JSON unless the log goes to a terminal."""

    @field_validator("database_url", "migration_database_url", "redis_url")
    @classmethod
    def _is_a_url(cls, value: str | None) -> str | None:
        return check_url(value) if value else value

    @field_validator("programmes", "providers", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(part.strip() for part in value.split(",") if part.strip())
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the names are pydantic-settings'
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the files that it names."""
        return init_settings, env_settings, _FromFiles(settings_cls)

    @property
    def wait(self) -> timedelta:
        """How long a redemption waits for its voucher."""
        return timedelta(hours=self.wait_hours)

    @property
    def keep(self) -> timedelta:
        """How long acknowledged entries stay on the inbound streams."""
        return timedelta(days=self.keep_days)

    def require_database_url(self) -> str:
        """Return the database's URL; raise SettingsError when there is none."""
        if not self.database_url:
            raise SettingsError("DATABASE_URL is not set (postgresql://user:password@host/database)")
        return self.database_url

    def require_redis_url(self) -> str:
        """Return the broker's URL; raise SettingsError when there is none."""
        if not self.redis_url:
            raise SettingsError("REDIS_URL is not set (redis://user:password@host:6379/0)")
        return self.redis_url


def read_settings(**changes: Any) -> Settings:
    """Read the settings from the environment; raise SettingsError with everything that is wrong in it."""
    try:
        return Settings(**changes)
    except ValidationError as error:
        raise SettingsError(f"wrong settings: {told(error)} (variables begin with {PREFIX})") from None
