"""What deploy/Dockerfile and compose.yaml promise, read from the files. deploy/check-image runs them for real."""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from steeple.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("api", "scheduler", "worker")
ONE_SHOTS = ("secrets", "migrate")
SERVERS = ("postgres", "valkey")
REMOTE = r"https?://(?!127)|index-url"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file with the defaults of its variables."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / "compose.yaml").read_text())
    assert "$" not in text, "a variable without a default"
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    """The instructions, each as its name and the rest of its line."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "deploy/Dockerfile").read_text()).replace("\\\n", " ")
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip())]


@pytest.fixture(scope="module")
def final_stage(dockerfile: list[tuple[str, str]]) -> list[tuple[str, str]]:
    last = max(number for number, (name, _) in enumerate(dockerfile) if name == "FROM")
    return dockerfile[last:]


def test_a_deployment_is_these_services(services: dict[str, Any]) -> None:
    assert set(services) == {*PARTS, *ONE_SHOTS, *SERVERS}


def test_all_parts_run_from_one_image_that_is_built_once(services: dict[str, Any]) -> None:
    assert {services[name]["image"] for name in (*PARTS, *ONE_SHOTS)} == {"steeple:local"}
    assert [name for name in services if "build" in services[name]] == ["secrets"]
    assert all(services[name]["pull_policy"] == "never" for name in (*PARTS, *ONE_SHOTS))
    assert (ROOT / services["secrets"]["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("name", [*PARTS, *ONE_SHOTS])
def test_our_containers_have_no_privilege_and_a_read_only_root(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"]
    assert not {"privileged", "cap_add", "user"} & set(service)


@pytest.mark.parametrize("name", [*PARTS, *SERVERS])
def test_what_runs_on_is_health_checked_restarted_and_given_time_to_stop(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert _seconds(service["stop_grace_period"]) >= 45


def test_a_worker_may_drain_to_the_end_before_it_is_killed(services: dict[str, Any]) -> None:
    defaults = {name: Settings.model_fields[name].default for name in ("shutdown_grace", "kill_after")}
    assert _seconds(services["worker"]["stop_grace_period"]) > sum(defaults.values())


@pytest.mark.parametrize("name", PARTS)
def test_a_part_starts_after_the_schema_and_the_servers(services: dict[str, Any], name: str) -> None:
    assert _conditions(services[name]) == {
        "migrate": "service_completed_successfully",
        "postgres": "service_healthy",
        "valkey": "service_healthy",
    }


def test_the_secrets_come_before_everything_that_reads_them(services: dict[str, Any]) -> None:
    assert _conditions(services["secrets"]) == {}
    assert _conditions(services["postgres"]) == {"secrets": "service_completed_successfully"}
    assert _conditions(services["migrate"]) == {
        "secrets": "service_completed_successfully",
        "postgres": "service_healthy",
    }


def test_only_the_api_is_published_and_only_on_loopback(services: dict[str, Any]) -> None:
    assert {name: service["ports"] for name, service in services.items() if "ports" in service} == {
        "api": ["127.0.0.1:8080:8080"]
    }
    assert not any(service.get("network_mode") == "host" for service in services.values())


def test_every_service_can_be_scaled_by_name(services: dict[str, Any]) -> None:
    assert not any({"container_name", "hostname"} & set(service) for service in services.values())


def test_one_shots_end_for_good(services: dict[str, Any]) -> None:
    assert not any({"restart", "healthcheck"} & set(services[name]) for name in ONE_SHOTS)


def test_every_variable_is_a_setting(services: dict[str, Any]) -> None:
    known = {f"STEEPLE_{name.upper()}" for name in Settings.model_fields}
    given = {name.removesuffix("_FILE") for part in (*PARTS, "migrate") for name in services[part]["environment"]}
    assert given <= known


@pytest.mark.parametrize("name", [*PARTS, "migrate"])
def test_settings_are_read_as_the_container_gives_them(
    services: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in [variable for variable in os.environ if variable.startswith("STEEPLE_")]:
        monkeypatch.delenv(variable)
    for variable, value in services[name]["environment"].items():
        secret = tmp_path / Path(value).name
        if variable.endswith("_FILE"):
            secret.write_text(f"what {secret.name} holds")
        monkeypatch.setenv(variable, str(secret) if variable.endswith("_FILE") else value)
    settings = Settings()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "what database_url holds"
    assert settings.auto_upgrade is False
    assert (settings.host == "0.0.0.0") is (name == "api")
    assert (settings.bootstrap_api_key is not None) is (name == "api")


def test_secrets_are_files_never_values(services: dict[str, Any]) -> None:
    variables = {k: v for service in services.values() for k, v in service.get("environment", {}).items()}
    secret = {name: value for name, value in variables.items() if re.search("PASSWORD|KEY|DATABASE_URL", name)}
    assert len(secret) == 4
    assert all(name.endswith("_FILE") and value.startswith("/run/steeple/") for name, value in secret.items())


def test_the_volume_of_the_secrets_is_written_by_their_maker_only(services: dict[str, Any]) -> None:
    mounts = {
        name: [m for m in service.get("volumes", []) if m.startswith("secrets:")] for name, service in services.items()
    }
    assert mounts.pop("secrets") == ["secrets:/run/steeple"]
    assert mounts.pop("valkey") == []
    assert all(found == ["secrets:/run/steeple:ro"] for found in mounts.values())


def test_the_data_of_postgres_is_where_its_image_keeps_it(compose: dict[str, Any]) -> None:
    assert compose["services"]["postgres"]["image"] == "postgres:18"
    assert "postgres:/var/lib/postgresql" in compose["services"]["postgres"]["volumes"]
    assert set(compose["volumes"]) == {"postgres", "secrets"}


def test_the_database_is_healthy_only_when_it_answers_over_tcp(services: dict[str, Any]) -> None:
    """While the image sets the database up, its server listens on a socket only, and goes away again."""
    assert "--host=127.0.0.1" in services["postgres"]["healthcheck"]["test"]


def test_the_parts_run_the_app_of_the_environment(services: dict[str, Any]) -> None:
    assert [services[part]["command"][:2] for part in PARTS] == [[part, "steeple.demo.tasks:app"] for part in PARTS]
    assert (ROOT / "compose.yaml").read_text().count('"${STEEPLE_APP:-steeple.demo.tasks:app}"') == len(PARTS)


def test_the_scripts_that_compose_names_are_in_the_image(services: dict[str, Any], final_stage: Any) -> None:
    named = {word for service in services.values() for word in _words(service) if word.startswith("/usr/local/share/")}
    copied = next(rest for name, rest in final_stage if name == "COPY" and "deploy/" in rest).split()
    assert named == {copied[-1] + Path(source).name for source in copied[:-1]}
    assert all(os.access(ROOT / source, os.X_OK) for source in copied[:-1])


def test_the_image_is_built_in_stages_on_one_base(dockerfile: list[tuple[str, str]]) -> None:
    assert dockerfile[0] == ("ARG", "BASE_IMAGE=python:3.13-slim")
    assert [rest for name, rest in dockerfile if name == "FROM"] == ["${BASE_IMAGE} AS builder", "${BASE_IMAGE}"]


def test_the_final_stage_installs_nothing(final_stage: list[tuple[str, str]]) -> None:
    assert next(rest for name, rest in final_stage if name == "COPY") == "--from=builder /opt/steeple /opt/steeple"
    assert not any(re.search(r"\b(pip|apt-get|apt)\b", rest) for name, rest in final_stage if name == "RUN")


def test_the_image_installs_wheels_with_the_pins_of_the_lock(dockerfile: list[tuple[str, str]]) -> None:
    install = next(rest for name, rest in dockerfile if name == "RUN" and "pip install" in rest)
    assert "--constraint requirements.lock" in install
    assert "--only-binary :all:" in install
    assert ".[server]" in install


def test_the_image_runs_steeple_as_a_user_by_number(final_stage: list[tuple[str, str]]) -> None:
    assert [rest for name, rest in final_stage if name == "USER"] == ["10001:10001"]
    assert [rest for name, rest in final_stage if name == "ENTRYPOINT"] == ['["steeple"]']
    assert not any(name in {"HEALTHCHECK", "CMD"} for name, _ in final_stage)


def test_bytecode_is_made_at_build_and_never_later(dockerfile: list[tuple[str, str]], final_stage: Any) -> None:
    assert any("compileall" in rest for name, rest in dockerfile if name == "RUN")
    assert any("PYTHONDONTWRITEBYTECODE=1" in rest for name, rest in final_stage if name == "ENV")


def test_the_image_has_labels(final_stage: list[tuple[str, str]]) -> None:
    labels = next(rest for name, rest in final_stage if name == "LABEL")
    for label in ("title", "description", "licenses", "version", "revision", "base.name"):
        assert f"org.opencontainers.image.{label}=" in labels
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] in labels


@pytest.mark.parametrize("path", ["deploy/Dockerfile", "compose.yaml", ".dockerignore", "deploy/make-secrets"])
def test_nothing_is_fetched_from_a_place_that_is_named(path: str) -> None:
    assert not re.search(REMOTE, (ROOT / path).read_text())


def test_the_builder_gets_all_that_is_copied_and_no_more(dockerfile: list[tuple[str, str]]) -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    copies = [rest.split()[:-1] for name, rest in dockerfile if name == "COPY" and "--from" not in rest]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == {source for copy in copies for source in copy}


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)s", text)
    assert found, text
    return float(found[1])


def _conditions(service: dict[str, Any]) -> dict[str, str]:
    return {name: wanted["condition"] for name, wanted in service.get("depends_on", {}).items()}


def _words(service: dict[str, Any]) -> list[str]:
    return [*service.get("entrypoint", []), *service.get("healthcheck", {}).get("test", [])]
