"""The catalogue's other files: encrypted resolvers, ECH fronts and canaries; classes of clients."""

from __future__ import annotations

import ipaddress
from functools import cached_property
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from sensor.knowledge.catalogue_files import CatalogueError
from sensor.knowledge.catalogue_load import parse
from sensor.knowledge.catalogue_match import ascii_name
from sensor.knowledge.catalogue_model import Id, Text, Url

Name = Annotated[str, AfterValidator(ascii_name)]
Address = Annotated[str, AfterValidator(lambda text: str(ipaddress.ip_address(text)))]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Resolver(_Model):
    """A public resolver that speaks DoH, DoT or DoQ. A name stands for itself and every name under it."""

    provider: Text
    names: tuple[Name, ...] = ()
    addresses: tuple[Address, ...] = ()
    source: Url


class Named(_Model):
    """A name with a meaning of its own."""

    name: Name
    means: Text
    source: Url


class Resolvers(_Model):
    """`resolvers.yaml`."""

    resolvers: tuple[Resolver, ...] = ()
    fronts: tuple[Named, ...] = ()  # outer names of ECH: the real name is hidden behind them
    canaries: tuple[Named, ...] = ()  # a question for one says how a client is about to resolve

    @cached_property
    def names(self) -> frozenset[str]:
        """Names of encrypted resolvers."""
        return frozenset(name for resolver in self.resolvers for name in resolver.names)

    @cached_property
    def ips(self) -> frozenset[str]:
        """Addresses of encrypted resolvers, as `inet_ntop` writes them."""
        return frozenset(address for resolver in self.resolvers for address in resolver.addresses)

    @cached_property
    def front_names(self) -> frozenset[str]:
        """Outer names of ECH."""
        return frozenset(front.name for front in self.fronts)


class ClientClass(_Model):
    """JA4 values of one class of clients. Many programs share a value: it never names a product."""

    name: Id = Field(alias="class")
    ja4: tuple[
        Annotated[str, StringConstraints(pattern=r"^[tqd][0-9a-z]{9}_[0-9a-f]{12}_[0-9a-f]{12}$")], ...
    ]
    sample: Text
    source: Text


class UserAgent(_Model):
    """A text within a user agent, case aside, and the class that sends it."""

    pattern: Annotated[str, StringConstraints(min_length=3, max_length=100)]
    name: Id = Field(alias="class")
    vendor: Id | None = None

    @property
    def engine(self) -> bool:
        """Whether every program that is built on it says it as well: Gecko, Electron."""
        return self.vendor is None and self.name in ("browser", "desktop-app")


class Clients(_Model):
    """`clients.yaml`."""

    classes: tuple[ClientClass, ...] = ()
    user_agents: tuple[UserAgent, ...] = ()

    @property
    def by_ja4(self) -> dict[str, str]:
        """JA4 to class."""
        return {ja4: item.name for item in self.classes for ja4 in item.ja4}

    @property
    def by_length(self) -> list[tuple[str, str]]:
        """Texts within user agents in lower case and their classes, the longest first; engines behind programs."""
        found = sorted(
            (item.engine, -len(item.pattern), item.pattern.lower(), item.name) for item in self.user_agents
        )
        return [(text, name) for *_, text, name in found]


M = TypeVar("M", bound=BaseModel)


def read_side(root: Path, name: str, model: type[M]) -> M:
    """One of these files of a catalogue's folder; without it nothing is known. Raises `CatalogueError`."""
    path = root / name
    if not path.exists():
        return model()
    found, _, problems = parse(path.read_bytes(), name, model)
    if found is None:
        raise CatalogueError(problems)
    return found
