"""Where a PostgreSQL database is, and that in every shape its clients want.

Lives here: the address of one database. Stays out: starting a server (`server`), what is in the database (`tables`).
"""

from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

ADDRESS_HELP = "Write postgresql://user:password@host:port/database."


@dataclass(frozen=True)
class Database:
    """The address of one PostgreSQL database; `host` is a name, or the folder of a Unix socket."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    dbname: str

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Read an address such as `postgresql://user:password@host:5432/retail`.

        Args:
            url: What libpq accepts; user and database have to be named, the port is 5432 when it is not.

        Returns:
            The address.

        Raises:
            ValueError: The text is no such address, names no user or database, or has further parameters.
        """
        try:
            parts = conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise ValueError(f"Not a PostgreSQL address: {error} {ADDRESS_HELP}") from error
        if further := parts.keys() - {"host", "port", "user", "password", "dbname"}:
            raise ValueError(
                f"The PostgreSQL address has the parameters {sorted(further)}, which not every client of the platform "
                "reads. Set them for all clients by libpq's environment variables, e.g. PGSSLMODE."
            )
        if missing := {"user", "dbname"} - parts.keys():
            raise ValueError(f"The PostgreSQL address names no {sorted(missing)}. {ADDRESS_HELP}")
        return cls(
            host=str(parts.get("host", "localhost")),
            port=int(str(parts.get("port", 5432))),
            user=str(parts["user"]),
            password=str(parts.get("password", "")),
            dbname=str(parts["dbname"]),
        )

    def url(self, driver: str | None = None) -> str:
        """This address as text, percent-encoded.

        Args:
            driver: SQLAlchemy's name of a driver, e.g. `psycopg2`; None for the address that libpq and asyncpg read.

        Returns:
            `postgresql[+driver]://user[:password]@host:port/database`, a socket folder as the parameter `host`.
        """
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        login = quote(self.user, safe="") + (f":{quote(self.password, safe='')}" if self.password else "")
        name = quote(self.dbname, safe="")
        if self.host.startswith("/"):
            return f"{scheme}://{login}@/{name}?host={quote(self.host, safe='')}&port={self.port}"
        return f"{scheme}://{login}@{self.host}:{self.port}/{name}"

    def connect(self, **options: Any) -> psycopg.Connection:
        """Open a connection.

        Args:
            **options: Further arguments of `psycopg.connect`, e.g. `autocommit=True`.

        Returns:
            The open connection, to be used as a context manager.

        Raises:
            psycopg.OperationalError: Nothing answers there, or it refuses.
        """
        return psycopg.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, dbname=self.dbname, **options
        )

    def environment(self) -> dict[str, str]:
        """The variables from which dbt's profile reads this address."""
        return {
            "RETAIL_PG_HOST": self.host,
            "RETAIL_PG_PORT": str(self.port),
            "RETAIL_PG_USER": self.user,
            "RETAIL_PG_PASSWORD": self.password,
            "RETAIL_PG_DBNAME": self.dbname,
        }
