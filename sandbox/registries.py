"""Which registries a build of another language may reach, as this machine's user configured them: npm's, Go's, Rust's and Java's."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from sandbox import EnvironmentFailed
from sandbox.frameworks.adapter import Language
from sandbox.indexes import CERTIFICATES, Indexes, configured_indexes
from sandbox.settings import SandboxSettings

_NPM, _GO = "https://registry.npmjs.org/", "https://proxy.golang.org"
_HOSTS: Mapping[Language, tuple[str, ...]] = {
    "javascript": ("registry.npmjs.org", "registry.yarnpkg.com"),
    "go": ("proxy.golang.org", "sum.golang.org", "storage.googleapis.com"),
    "rust": ("index.crates.io", "static.crates.io", "crates.io"),
    "java": ("repo.maven.apache.org", "repo1.maven.org", "plugins.gradle.org", "plugins-artifacts.gradle.org", "services.gradle.org"),
}


@dataclass(frozen=True)
class Registries(Indexes):
    """What takes the place of the package indexes where no Python is installed."""

    reachable: frozenset[tuple[str, int]] = frozenset()
    settings: Mapping[str, str] = field(default_factory=dict)

    def hosts(self, settings: SandboxSettings) -> frozenset[tuple[str, int]]:
        extra = (text.partition(":") for text in settings.extra_index_hosts)
        return self.reachable | {(host.lower(), int(port or 443)) for host, _, port in extra}

    def variables(self) -> dict[str, str]:
        names = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "CARGO_HTTP_CAINFO") if self.certificates is not None else ()
        return {**self.settings, **dict.fromkeys(names, CERTIFICATES)}


def configured_registries(language: Language, environ: Mapping[str, str] | None = None) -> Registries:
    """The registries of a language. Raises EnvironmentFailed where one needs a password, which the code of a build could read."""
    environ = os.environ if environ is None else environ
    hosts = {(name, 443) for name in _HOSTS[language]}
    settings: dict[str, str] = {}
    urls: list[str] = []
    if language == "javascript":
        registry = environ.get("npm_config_registry") or environ.get("NPM_CONFIG_REGISTRY") or _npmrc(environ) or _NPM
        urls, settings = [registry], {"npm_config_registry": registry}
    elif language == "go":
        proxies = [p for p in re.split(r"[,|]", environ.get("GOPROXY", "")) if p not in ("", "direct", "off")] or [_GO]
        urls, settings = proxies, {"GOPROXY": ",".join(proxies)}
        settings |= {name: environ[name] for name in ("GOSUMDB", "GONOSUMDB", "GONOSUMCHECK", "GOFLAGS") if environ.get(name)}
    for url in urls:
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise EnvironmentFailed(
                f"the registry {parts.hostname} needs a password, which would be readable by the code under test: "
                "configure a mirror without one, or commit the dependencies"
            )
        if parts.hostname:
            hosts.add((parts.hostname.lower(), parts.port or (443 if parts.scheme == "https" else 80)))
    certificates = configured_indexes(environ, ()).certificates
    return Registries(certificates=certificates, reachable=frozenset(hosts), settings=settings)


def _npmrc(environ: Mapping[str, str]) -> str:
    """The registry of npm's files, the user's before the machine's."""
    home = Path(environ.get("HOME") or "/nonexistent")
    for path in (Path(environ.get("npm_config_userconfig") or home / ".npmrc"), Path("/etc/npmrc"), Path("/usr/etc/npmrc")):
        try:
            found = re.search(r"^registry\s*=\s*(\S+)", path.read_text(encoding="utf-8"), re.M)
        except (OSError, UnicodeDecodeError):
            continue
        if found:
            return found[1].strip("\"'")
    return ""
