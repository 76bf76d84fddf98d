"""A cluster that is running: the client of its scheduler, and whether its workers can do the work."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from distributed import Client, Security
from distributed.comm.registry import backends

from tfdump.errors import TfdumpError, reason_of, with_article
from tfdump.tensors import Note

ANSWER_WITHIN = 5.0
"""Seconds within which a scheduler has to answer."""

PACKAGES = ("tfdump", "keras", "tensorflow", "numpy", "h5py")
"""The packages whose versions must be the same on all machines."""

_GIVE = "give the file of dask scheduler --scheduler-file, or an address such as tcp://host:8786"
_LOOK_EVERY = 0.2


@contextmanager
def running_scheduler(text: str, note: Note, check: Callable[[], None]) -> Iterator[Client]:
    """Yield the client of a scheduler, by its address (`tcp://host:port`) or its file, when it has workers.

    `note` is told where it has none yet, and `check` is called while nothing happens. Raises TfdumpError where there is
    no scheduler, or the workers have other versions of what computes the numbers.
    """
    address = _address_in(text)
    if address.startswith("tls://"):
        _check_certificates(address)
    try:
        _knock(address)
        client = Client(address, timeout=ANSWER_WITHIN, set_as_default=False)
    except (OSError, ValueError, OverflowError, TypeError, ImportError) as cause:
        raise TfdumpError(
            f"no scheduler answers at {address}: {_last_reason(cause)} (start it: dask scheduler)"
        ) from None
    with client:
        wait_for_workers(client, note, check)
        check_versions(client)
        yield client


def _address_in(text: str) -> str:
    """Return the address that a text is, or that is in the file of this name; raises TfdumpError."""
    scheme = re.match(r"([a-z][a-z0-9+.-]*)://", text, re.IGNORECASE)
    if scheme is not None:
        if scheme[1] not in backends or scheme[1] == "inproc":
            raise TfdumpError(f"--scheduler {text} is not the address of a scheduler ({_GIVE})")
        return text
    if not text:
        raise TfdumpError(f"--scheduler is empty ({_GIVE})")
    path = Path(text)
    try:
        item = json.loads(path.read_bytes())
        address = item["address"]
    except FileNotFoundError:
        if re.fullmatch(r"[^/\s]+:\d{1,5}", text):
            return f"tcp://{text}"
        raise TfdumpError(f"--scheduler {text}: there is no such file ({_GIVE})") from None
    except OSError as cause:
        raise TfdumpError(f"--scheduler {text}: {cause.strerror} ({_GIVE})") from None
    except (ValueError, TypeError, LookupError):
        raise TfdumpError(
            f"--scheduler {text} is not the file of a scheduler (start it: dask scheduler --scheduler-file FILE)"
        ) from None
    if not isinstance(address, str):
        raise TfdumpError(f"--scheduler {text} is not the file of a scheduler (it has no address)")
    return address


def _check_certificates(address: str) -> None:
    """Raise TfdumpError where Dask's configuration has no certificates that can be read."""
    try:
        context = Security().get_connection_args("client").get("ssl_context")
        reason = "Dask's configuration here has none" if context is None else None
    except OSError as cause:
        reason = f"those of Dask's configuration here cannot be read: {cause.strerror or cause}"
    if reason is not None:
        raise TfdumpError(
            f"{address} needs certificates, and {reason} (set ca-file, client.cert and client.key of "
            "distributed.comm.tls there)"
        )


def _knock(address: str) -> None:
    """Raise OSError where nobody listens at an address; a client of Dask would try it again and again."""
    server = re.fullmatch(r"(?:tcp|tls)://\[?(.+?)\]?:(\d{1,5})/?", address)
    if server is not None:
        socket.create_connection((server[1], int(server[2])), timeout=ANSWER_WITHIN).close()


def _last_reason(cause: BaseException) -> str:
    """Return why there was no connection, which is at the end of a chain of errors."""
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return (isinstance(cause, OSError) and cause.strerror) or reason_of(cause)


def check_client(client: Any) -> None:
    """Raise TfdumpError for a value that is not a client of Dask, and for one that is closed or asynchronous."""
    if not isinstance(client, Client):
        raise TfdumpError(
            f"client is {with_article(type(client).__name__)}, and not a client of Dask (create one: "
            "dask.distributed.Client(address))"
        )
    if client.asynchronous:
        raise TfdumpError("client is asynchronous (create it without asynchronous=True)")
    if client.status != "running":
        raise TfdumpError(f"client is {client.status} (create another one)")


def wait_for_workers(client: Client, note: Note, check: Callable[[], None] = lambda: None) -> None:
    """Wait until a scheduler has a worker; `note` is told that it has none, and `check` is called meanwhile."""
    if client.nthreads():
        return
    note(f"the scheduler {client.scheduler.address} has no workers yet; waiting for the first one")
    while not client.nthreads():
        check()
        _check_connected(client)
        time.sleep(_LOOK_EVERY)


def _check_connected(client: Client) -> None:
    if client.status != "running":
        raise TfdumpError(f"the scheduler {client.scheduler.address} ended")


def has_workers(client: Client) -> bool:
    """Tell whether the scheduler has a worker, as far as it can be asked."""
    try:
        return client.status != "running" or bool(client.nthreads())
    except (OSError, TimeoutError):
        return True  # the connection ended, which others see


def threads_of_workers(client: Client) -> list[int]:
    """Return the number of threads of each worker."""
    return list(client.nthreads().values())


def check_versions(client: Client) -> None:
    """Raise TfdumpError where a worker, or the scheduler, has another version of a package than this process.

    The packages are asked for through the standard library, so this works where tfdump is not installed.
    """
    for package in PACKAGES:
        here = _version(package)
        for where, there in _versions(client, package).items():
            if here is not None and there != here:
                what = f"has {package} {there}" if there else f"has no {package}"
                raise TfdumpError(f"{where} {what}, and {here} is here (install the same versions on all machines)")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _versions(client: Client, package: str) -> dict[str, str | None]:
    """Return the version of a package on every worker, by what messages call it; None where it is not installed."""
    answers: dict[str, Any] = client.run(metadata.version, package, on_error="return")
    return {f"worker {address}": answer if isinstance(answer, str) else None for address, answer in answers.items()}
