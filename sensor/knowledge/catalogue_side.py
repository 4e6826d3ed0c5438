"""The catalogue's other files: encrypted resolvers, ECH fronts and canaries."""

from __future__ import annotations

import ipaddress
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from sensor.knowledge.catalogue_load import CatalogueError, parse
from sensor.knowledge.catalogue_model import Text, Url, ascii_name

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

    resolvers: tuple[Resolver, ...]
    fronts: tuple[Named, ...]  # outer names of ECH: the real name is hidden behind them
    canaries: tuple[Named, ...]  # a question for one says how a client is about to resolve

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


def read_resolvers(root: Path) -> Resolvers:
    """`resolvers.yaml` of a catalogue's folder. Raises `CatalogueError`, and `OSError` if there is none."""
    found, _, problems = parse((root / "resolvers.yaml").read_bytes(), "resolvers.yaml", Resolvers)
    if found is None:
        raise CatalogueError(problems)
    return found
