"""A Hub for the tests of this folder and of the commands that speak to one."""

import pytest
from hub_server import HubServer


@pytest.fixture(scope="module")
def hub():
    """An empty Hub on loopback."""
    with HubServer() as server:
        yield server
