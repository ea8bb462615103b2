"""Every setting of every part, in one frozen model. The only reader of the environment."""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, PositiveFloat, PositiveInt, SecretStr, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(value: object) -> object:
    """Read ``7d``, ``12h``, ``30m`` or ``45s`` as seconds; anything else is left to Pydantic."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*", value) if isinstance(value, str) else None
    return float(match[1]) * _UNIT_SECONDS[match[2]] if match else value


Seconds = Annotated[PositiveFloat, BeforeValidator(_seconds)]


class _FilesNamedByTheEnvironment(PydanticBaseSettingsSource):
    """``STEEPLE_X_FILE`` names a file that holds the value of ``STEEPLE_X``: how secrets are mounted."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        for name in _environment_names(field, field_name):
            path = os.environ.get(f"{name}_FILE")
            if path and (value := Path(path).read_text().strip()):
                return value, field_name, False
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def _environment_names(field: FieldInfo, field_name: str) -> list[str]:
    if isinstance(field.validation_alias, AliasChoices):
        return [str(choice) for choice in field.validation_alias.choices if choice != field_name]
    return [f"STEEPLE_{field_name.upper()}"]


class Settings(BaseSettings):
    """Settings of a part. Durations are seconds, and may be written ``7d``, ``12h``, ``30m`` or ``45s``."""

    model_config = SettingsConfigDict(
        env_prefix="STEEPLE_", env_ignore_empty=True, frozen=True, extra="forbid", populate_by_name=True
    )

    database_url: SecretStr | None = Field(
        None, validation_alias=AliasChoices("STEEPLE_DATABASE_URL", "DATABASE_URL", "database_url")
    )
    broker_url: SecretStr | None = Field(
        None, validation_alias=AliasChoices("STEEPLE_BROKER_URL", "REDIS_URL", "broker_url")
    )

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    url: str = "http://127.0.0.1:8080"
    api_key: SecretStr | None = None
    bootstrap_api_key: SecretStr | None = Field(
        None, description="An admin key that the api stores (hashed) when it starts; for deployments by file."
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"
    auto_upgrade: bool = True

    retention: Seconds = Field(7 * 86400.0, description="How long finished jobs are kept.")
    heartbeat_interval: Seconds = 5.0
    worker_dead_after: Seconds = 20.0
    wake_interval: Seconds = Field(0.25, description="The longest pause of the scheduler's wake loop.")
    drain_slice: Seconds = Field(1.0, description="How long a slot drains before Celery gets it back.")
    max_claim: PositiveInt = Field(
        128, le=128, description="The most jobs that one claim takes. With 1 none is claimed ahead."
    )
    max_coroutines: PositiveInt = Field(128, le=1024, description="The most async tasks that one slot runs at once.")
    starvation_after: Seconds = Field(
        3600.0, description="A job that waited this much longer than its rivals goes first."
    )
    kill_after: Seconds = Field(10.0, description="From the soft signal to SIGKILL of the slot.")
    shutdown_grace: Seconds = Field(30.0, description="How long running tasks may go on after SIGTERM.")
    cut_off_after: Seconds = Field(
        300.0, description="A worker that cannot reach its database or broker for so long exits, to be started again."
    )
    unknown_task_grace: Seconds = Field(30.0, description="How long a job waits for a worker that knows its task.")

    max_body_bytes: PositiveInt = 16 * 1024 * 1024
    max_args_bytes: PositiveInt = 256 * 1024
    max_result_bytes: PositiveInt = 256 * 1024

    @model_validator(mode="after")
    def _heartbeats_in_time(self) -> Self:
        if self.worker_dead_after < 2 * self.heartbeat_interval:
            raise ValueError(
                f"a worker that beats every {self.heartbeat_interval:g} s (STEEPLE_HEARTBEAT_INTERVAL) cannot be taken"
                f" for dead after {self.worker_dead_after:g} s (STEEPLE_WORKER_DEAD_AFTER): allow two beats at least"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _FilesNamedByTheEnvironment(settings_cls)


def is_loopback(host: str) -> bool:
    """True if only programs on this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
