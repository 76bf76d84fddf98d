"""A headless Chromium for the tests in a browser: Debian's chromium and chromium-driver, driven by selenium."""

import shutil
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


def missing() -> str:
    """Return what is missing for tests in a browser, or nothing."""
    try:
        import selenium  # noqa: F401 - only whether it is there
    except ImportError:
        return "selenium is missing (pip install 'tfdump[browser]')"
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(absent)} missing (apt-get install chromium chromium-driver)" if absent else ""


def press(driver: Any, *keys: str) -> None:
    """Press keys, one after the other, where the focus is."""
    from selenium.webdriver import ActionChains

    chain = ActionChains(driver)
    for key in keys:
        chain.send_keys(key)
    chain.perform()


def start(profile: Path, size: str = "1280,900") -> Any:
    """Start Chromium with a profile of its own; what it logs and what it requests is kept."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={size}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver") or "")
    return webdriver.Chrome(options=options, service=service)
