"""A port that can be opened."""

import errno
import os
import socket

from studio.errors import SetupError

_TRIES = 100
_LAST = 65535
_FIRST_FOR_EVERYONE = 1024


def free_port(host: str, first: int) -> int:
    """The first port from `first` upwards that can be opened on `host`.

    Raises: SetupError when there is no such port, `host` is not an address of this machine, the
    port needs administrator rights, or the next hundred ports are all taken.
    """
    if not 1 <= first <= _LAST:
        raise SetupError(
            f"There is no port {first}.",
            f"Choose one from 1024 to {_LAST} with --port.",
            "port_unknown",
        )
    last = min(first + _TRIES - 1, _LAST)
    for port in range(first, last + 1):
        if _can_open(host, port):
            return port
    raise SetupError(
        f"The ports {first} to {last} are all taken.",
        "Close the program that uses them, or choose another with --port.",
        "port_taken",
    )


def _can_open(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":
                # else a port closed a moment ago counts as taken for a minute
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except PermissionError as error:
        if port >= _FIRST_FOR_EVERYONE:  # Windows says so of a port that another program holds
            return False
        raise SetupError(
            f"Port {port} needs administrator rights.",
            "Choose a port above 1023 with --port.",
            "port_not_allowed",
        ) from error
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise SetupError(
                f"'{host}' is not an address of this machine.",
                "Use --host 127.0.0.1 (this machine only) or --host 0.0.0.0 (the whole network).",
                "host_unknown",
            ) from error
        return False
    return True
