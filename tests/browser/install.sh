#!/bin/sh
# Puts the browser there that the tests drive: as root on Debian by itself, else it says what to install.
set -eu
if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
    exit 0
fi
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends chromium chromium-driver
else
    echo "the tests in a browser need chromium and chromedriver (Debian: apt-get install chromium chromium-driver)" >&2
    exit 1
fi
