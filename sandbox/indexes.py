"""Which package indexes this machine's user configured: pip's files and variables, and uv's variables, as one value."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sandbox import EnvironmentFailed
from sandbox.runner import Mount
from sandbox.settings import SandboxSettings

DEFAULT_INDEX = "https://pypi.org/simple"
_FILES_HOST = ("files.pythonhosted.org", 443)
CERTIFICATES = "/ledex-certificates.pem"
"""Where the configured CA certificates lie inside the build's sandbox."""


@dataclass(frozen=True)
class Indexes:
    """The configured indexes. ``extra`` and ``find_links`` may hold ``file://`` URLs and folders."""

    index: str = DEFAULT_INDEX
    extra: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    certificates: Path | None = None

    def hosts(self, settings: SandboxSettings) -> frozenset[tuple[str, int]]:
        """The (host, port) pairs that a build may reach."""
        pairs = {pair for url in (self.index, *self.extra, *self.find_links) if (pair := _host(url)) is not None}
        if any(host == "pypi.org" for host, _ in pairs):
            pairs.add(_FILES_HOST)
        for text in settings.extra_index_hosts:
            host, _, port = text.partition(":")
            pairs.add((host.lower(), int(port or 443)))
        return frozenset(pairs)

    def mounts(self) -> tuple[Mount, ...]:
        """Local indexes and folders of packages at their own paths, and the CA certificates. A simple index's files lie beside it."""
        folders: dict[Path, None] = {}
        for url in (self.index, *self.extra, *self.find_links):
            path = _local(url)
            if path is not None and path.exists():
                folders[path.parent if path.name == "simple" and _harmless(path.parent) else path] = None
        kept = [f for f in folders if _harmless(f) and not any(f != other and f.is_relative_to(other) for other in folders)]
        mounts = [Mount(folder, str(folder)) for folder in kept]
        if self.certificates is not None:
            mounts.append(Mount(self.certificates, CERTIFICATES))
        return tuple(mounts)

    def variables(self) -> dict[str, str]:
        """Variables that make pip and uv inside use these indexes, merged as pip merges them, and these certificates."""
        links = [str(_local(url) or url) for url in self.find_links]
        variables = {
            "PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": self.index, "UV_DEFAULT_INDEX": self.index,
            "UV_INDEX_STRATEGY": "unsafe-best-match" if self.extra else "first-index",
            "PIP_EXTRA_INDEX_URL": " ".join(self.extra), "UV_INDEX": " ".join(self.extra),
            "PIP_FIND_LINKS": " ".join(links), "UV_FIND_LINKS": ",".join(links),
            "PIP_TRUSTED_HOST": " ".join(self.trusted_hosts), "UV_INSECURE_HOST": " ".join(self.trusted_hosts),
        }  # fmt: skip
        if self.certificates is not None:
            variables |= dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"), CERTIFICATES)
        return {name: value for name, value in variables.items() if value}


def configured_indexes(environ: Mapping[str, str] | None = None, files: tuple[Path, ...] | None = None) -> Indexes:
    """What pip and uv would use on this machine, the environment before the user's files before the machine's.

    Raises EnvironmentFailed where an index needs a password: it would have to be handed to the code that a build runs.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, str] = {}
    for path in _pip_files(environ) if files is None else files:
        values |= _read(path)
    for name in ("index-url", "extra-index-url", "find-links", "trusted-host", "cert"):
        value = environ.get("PIP_" + name.upper().replace("-", "_"))
        if value:
            values[name] = value
    index = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL") or values.get("index-url") or DEFAULT_INDEX
    extra = [*values.get("extra-index-url", "").split(), *environ.get("UV_EXTRA_INDEX_URL", "").split()]
    extra += [re.sub(r"^[\w-]+=(?=\w+:)", "", entry) for entry in environ.get("UV_INDEX", "").split()]
    links = [*values.get("find-links", "").split(), *re.split(r"[\s,]+", environ.get("UV_FIND_LINKS", ""))]
    for url in (index, *extra, *links):
        if "@" in urlsplit(url).netloc:
            raise EnvironmentFailed(
                f"the package index {urlsplit(url).hostname} needs a password, which would be readable by the code under test: "
                "configure a mirror without one, or build the environment yourself and give it with --python"
            )
    certificates = next(
        (Path(p) for p in (values.get("cert"), environ.get("SSL_CERT_FILE"), environ.get("REQUESTS_CA_BUNDLE"),
                           "/etc/ssl/certs/ca-certificates.crt") if p and Path(p).is_file()), None)  # fmt: skip
    return Indexes(
        index=index, extra=tuple(dict.fromkeys(extra)), find_links=tuple(dict.fromkeys(link for link in links if link)),
        trusted_hosts=tuple(values.get("trusted-host", "").split()), certificates=certificates)  # fmt: skip


def _pip_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """pip's configuration files, least important first."""
    own = environ.get("PIP_CONFIG_FILE")
    if own == "/dev/null":
        return ()
    home = Path(environ.get("HOME") or "/nonexistent")
    machine = [Path(folder) / "pip/pip.conf" for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")]
    user = [home / ".pip/pip.conf", Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"]
    return (*machine, Path("/etc/pip.conf"), *user, *([Path(own)] if own else []))


def _read(path: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}
    return {key.replace("_", "-"): value for section in ("global", "install") if parser.has_section(section)
            for key, value in parser.items(section)}  # fmt: skip


def _host(url: str) -> tuple[str, int] | None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return parts.hostname.lower(), parts.port or (443 if parts.scheme == "https" else 80)


def _local(url: str) -> Path | None:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(parts.path)
    return Path(url) if parts.scheme == "" and url.startswith("/") else None


def _harmless(folder: Path) -> bool:
    """Neither the root, nor a home folder, nor one that holds a home folder."""
    home = Path.home()
    return len(folder.parts) > 1 and not home.is_relative_to(folder)
