"""One Chromium for all tests of a file."""

from collections.abc import Iterator
from typing import Any

import pytest

from support import chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if reason := chromium.missing():
        pytest.skip(reason)
    driver = chromium.start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()
