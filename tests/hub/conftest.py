import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread: None) -> None:
    """For all tests here."""


@pytest.fixture(scope="session", autouse=True)
def _no_trace() -> Iterator[None]:
    """torch tells its own trace every symbol it meets, which pytest would keep, and print if a test fails."""
    logger = logging.getLogger("torch.__trace")
    before, logger.disabled = logger.disabled, True
    yield
    logger.disabled = before
