"""The server of the providers' tests, for assets that ask it."""

from retail_platform_tests.providers.conftest import server as server
