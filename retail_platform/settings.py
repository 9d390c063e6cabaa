"""The platform's settings: one object, from `RETAIL_*` variables and `.env`, built once and passed in.

Every path of the platform's state hangs on `home`, so that two platforms run side by side and one is removed by
removing its folder.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ByteSize, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parent.parent
"""The folder that holds `pyproject.toml`, `dbt_project/` and `dagster.yaml`."""

Dimension = Literal["completeness", "accuracy", "consistency", "timeliness", "uniqueness", "validity"]
"""Of quality (docs/quality.md)."""

EngineName = Literal["auto", "polars", "duckdb", "pandas", "spark"]
"""What the transformations run on (docs/engines.md)."""


class Settings(BaseSettings):
    """Settings of one platform."""

    model_config = SettingsConfigDict(env_prefix="RETAIL_", env_file=CHECKOUT / ".env", extra="ignore")

    home: Path = Field(CHECKOUT / ".retail", description="Folder of all state: landing, lake, PostgreSQL, Dagster.")
    first_day: date = Field(date(2009, 12, 1), description="First day the platform knows; earlier rows have no day.")
    mappings: Path | None = Field(
        None, description="TOML file with a retailer's own mappings, beside the packaged ones."
    )
    database_url: str | None = Field(None, description="Warehouse, postgresql://…; None starts the embedded server.")
    dagster_database_url: str | None = Field(
        None, description="Dagster's storage; None is database `dagster` of the embedded server."
    )
    engine: EngineName = Field("auto", description="What the transformations run on; a run can say it too.")
    memory: ByteSize | None = Field(
        None, description="Memory that a run may take in all, 4GiB; None is what the machine or its control group has."
    )
    spark_master: str | None = Field(None, description="Spark cluster, spark://…; None is a session of this machine.")
    fiscal_year_start_month: int = Field(4, ge=1, le=12, description="First month of the fiscal year.")
    max_uncompressed_bytes: int = Field(
        20 * 2**30, gt=0, description="A compressed file that unpacks to more is set aside."
    )
    quality_thresholds: dict[Dimension | Literal["total"], Annotated[float, Field(ge=0, le=100)]] = Field(
        {}, description='Least good scores, over the defaults: {"total": 80}. A day below total is not published.'
    )
    quality_floors: dict[Dimension, Annotated[float, Field(ge=0, le=100)]] = Field(
        {}, description='Scores below which a day is not published, over the defaults: {"accuracy": 80}.'
    )
    quality_weights: dict[Dimension, Annotated[float, Field(ge=0)]] = Field(
        {}, description='Weights of the scores in the total, over the defaults: {"timeliness": 20}.'
    )
    quality_minimum_rows: int = Field(
        50, ge=1, description="A day with fewer delivered rows is scored and reported, but holds nothing back."
    )
    quality_accepted_days: list[date] = Field(
        [], description='Days published whatever their scores, for somebody has looked at them: ["2011-01-04"].'
    )
    quality_on_time_hours: float = Field(24, ge=0, description="A day delivered so soon after its end is on time.")
    quality_late_hours: float = Field(168, gt=0, description="A day delivered so late is not on time at all.")
    quality_history_hours: float = Field(
        2208, gt=0, description="What is delivered so late is a load of history, which has no score for being on time."
    )
    quality_period_days: int = Field(
        31, ge=1, description="A delivery of so many days or fewer is due when its newest day is over."
    )
    dagster_url: str = Field("http://127.0.0.1:3000", description="Dagster's webserver, which runs the API's tasks.")
    export_seconds: float = Field(
        600, gt=0, description="How long the database may work on one export; other questions have less."
    )
    token_secret: SecretStr | None = Field(
        None, min_length=32, description="Signs the API's tokens; the embedded platform makes its own."
    )
    oidc_issuer: str | None = Field(None, description="Outside issuer whose bearer tokens are taken, https://….")
    oidc_audience: str | None = Field(None, description="The audience that the issuer writes for this API.")
    oidc_jwks_url: str | None = Field(None, description="The issuer's keys; None asks its discovery document.")
    oidc_role_claim: str = Field("roles", description="Claim with the role or roles; dots go into objects.")
    oidc_roles: dict[str, str] = Field({}, description="Role of each value of that claim; otherwise the value itself.")
    rate_limits: dict[str, str] = Field({}, description='Requests by role, over the defaults: {"viewer": "60/minute"}.')
    rate_limit_storage: str = Field("memory://", description="Where requests are counted; redis://… over processes.")
    cors_origins: list[str] = Field([], description="Origins whose pages may call the API: https://….")
    trusted_proxies: str | None = Field(
        None, description="Addresses of proxies whose X-Forwarded headers are believed, separated by commas."
    )
    max_request_bytes: int = Field(2**20, gt=0, description="A request with a larger body is refused.")
    max_page_size: int = Field(
        1000, gt=0, description="Rows of a page, groups of an aggregation; exports have no limit."
    )
    graphql_max_depth: int = Field(15, ge=3, description="Levels of fields inside fields of one GraphQL operation.")
    graphql_max_values: int = Field(
        200_000, gt=0, description="Values one GraphQL operation may ask for: rows of its pages times their fields."
    )
    shop_currency: str = Field("GBP", pattern="^[A-Z]{3}$", description="ISO 4217 code of the currency of the prices.")
    shop_country: str = Field("GB", pattern="^[A-Z]{2}$", description="ISO 3166 code of the country of the shop.")
    live_providers: bool = Field(False, description="Whether providers on the web are asked, beside the packaged data.")
    provider_urls: dict[str, str] = Field(
        {}, description='Other addresses of providers (rates, countries, weather): {"rates": "https://…/rates.zip"}.'
    )
    provider_seconds: float = Field(20, gt=0, description="How long a provider may keep silent.")
    provider_attempts: int = Field(3, ge=1, description="How often a provider is asked before it counts as down.")
    country_facts_year: int = Field(2011, description="Year of the live figures of countries.")
    request_seconds: float = Field(30, gt=0, description="An answer that has not begun by then is given up.")

    api_connections: int = Field(
        10, ge=1, description="Most connections of one API process for sales, and as many for marts."
    )
    api_statement_seconds: float = Field(10, gt=0, description="How long one statement of the API may take.")
    api_wait_seconds: float = Field(5, gt=0, description="How long a request waits for a connection to be free.")

    @model_validator(mode="after")
    def _hours_rise(self) -> Self:
        if not self.quality_on_time_hours < self.quality_late_hours <= self.quality_history_hours:
            raise ValueError(
                f"quality_on_time_hours {self.quality_on_time_hours:g}, quality_late_hours {self.quality_late_hours:g} "
                f"and quality_history_hours {self.quality_history_hours:g} have to rise in this order."
            )
        return self

    @property
    def landing(self) -> Path:
        """Where files are dropped; the user's, never changed by the platform."""
        return self.home / "landing"

    @property
    def deliveries(self) -> Path:
        """Accepted bytes under their hash, and the ledger: state that is backed up."""
        return self.home / "deliveries"

    @property
    def lake(self) -> Path:
        """The Delta tables and what is derived while reading deliveries; can be rebuilt."""
        return self.home / "lake"

    @property
    def postgres(self) -> Path:
        """Data folder of the embedded PostgreSQL."""
        return self.home / "postgres"

    @property
    def providers(self) -> Path:
        """Answers of providers on the web, kept for a while, and which of them are left alone; may be removed."""
        return self.home / "providers"

    @property
    def exports(self) -> Path:
        """Files that tasks of the API made: a folder a run, removed after some days."""
        return self.home / "exports"

    @property
    def secrets(self) -> Path:
        """What the platform made for itself and nobody else may read."""
        return self.home / "secrets"

    @property
    def logs(self) -> Path:
        """The API's audit log."""
        return self.home / "logs"

    @property
    def dagster_home(self) -> Path:
        """DAGSTER_HOME of this platform."""
        return self.home / "dagster"


def get_settings() -> Settings:
    """The settings that the environment gives now."""
    settings = Settings()
    return settings.model_copy(update={"home": settings.home.expanduser().resolve()})
