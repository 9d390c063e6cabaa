"""What docker-compose.yml and deploy/ promise: no secret with a default, nothing published beyond this machine."""

import re

import yaml

from retail_platform.settings import CHECKOUT

TEXT = (CHECKOUT / "docker-compose.yml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]
SECRETS = {"RETAIL_POSTGRES_PASSWORD", "RETAIL_API_PASSWORD", "RETAIL_TOKEN_SECRET"}


def test_every_secret_has_to_be_given() -> None:
    used = re.findall(r"\$\{(\w+)([^}]*)\}", TEXT)
    assert {name for name, _ in used} == SECRETS
    assert {rest[:2] for _, rest in used} <= {":?", ""}
    assert {name for name, rest in used if rest.startswith(":?")} == SECRETS


def test_ports_are_published_on_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert sorted(ports) == ["127.0.0.1:3000:3000", "127.0.0.1:8000:8000"]


def test_the_api_logs_in_as_itself_and_knows_no_other_password() -> None:
    environment = str(SERVICES["api"]["environment"])
    assert "postgresql://retail_api:" in environment
    assert "POSTGRES_PASSWORD" not in environment.replace("as RETAIL_POSTGRES_PASSWORD", "")
    assert SERVICES["api"]["healthcheck"]["test"][-1].count("/livez") == 1
