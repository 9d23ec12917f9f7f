"""Where the app is served and what it takes, unless asked otherwise."""

import ipaddress


LOCAL_HOST = "127.0.0.1"
MAX_UPLOAD_MB, MAX_FILES = 100, 200
SPACE_UPLOAD_MB, SPACE_FILES = 50, 50  # everybody may reach a Space


def is_local(host: str) -> bool:
    """Whether an address can be reached from the same computer alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
