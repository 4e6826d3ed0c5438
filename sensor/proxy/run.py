"""The proxy from its settings: mitmproxy with our addon and of its own only what a proxy needs."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import mitmproxy_rs  # type: ignore[import-not-found]  # as mitmproxy below, but by another name
from mitmproxy import options
from mitmproxy.addons import (
    block,
    core,
    disable_h2c,
    dns_resolver,
    next_layer,
    proxyserver,
    tlsconfig,
    upstream_auth,
)
from mitmproxy.certs import CertStoreEntry
from mitmproxy.master import Master
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import http as layers

from sensor.config import Settings
from sensor.knowledge import catalogue as catalogues
from sensor.knowledge import catalogue_files, inventory, policy
from sensor.knowledge.catalogue import Catalogue
from sensor.listen import address, bind
from sensor.proxy import auth, ca, sockets, tenant
from sensor.proxy.actions import Actions
from sensor.proxy.addon import Inspection
from sensor.proxy.analyse import Options
from sensor.proxy.bounded import BoundedStream
from sensor.proxy.coach import Grants
from sensor.proxy.decide import Gaps, Targets
from sensor.proxy.deliver import Delivery
from sensor.proxy.dlp.site import read_key
from sensor.proxy.handshakes import Handshakes
from sensor.proxy.keys import HashKey, private_file
from sensor.proxy.limit import Limiter
from sensor.proxy.local import Local
from sensor.proxy.parts import Parts
from sensor.proxy.people import Exceptions, People
from sensor.proxy.workers import Workers

HASH_KEY = "hash.key"
INTERCEPTING = ("transparent", "wireguard")
ASKING = ("regular", "socks5")  # modes in which clients can be asked for a name and a password
WIREGUARD_KEYS = "wireguard.conf"  # the name that mitmproxy looks for in its folder
WIREGUARD_CLIENT = "wireguard-client.conf"
_log = logging.getLogger("aiscope.proxy")


class Certificates(tlsconfig.TlsConfig):
    """mitmproxy's, but each for the one name that the client asked for: the others that the server's certificate has,
    or its address, may be outside the constraints of the authority, and clients refuse the whole."""

    def get_cert(self, conn_context: Context) -> CertStoreEntry:
        client, server = conn_context.client, conn_context.server
        name = client.sni or (server.address or client.sockname)[0]
        return self.certstore.get_cert(name, [tlsconfig._ip_or_dns_name(name)], None)


def names(catalogue: Catalogue, settings: Settings) -> list[str]:
    """Host patterns of all services, and those that the settings add."""
    hosts = (hosts for entry in catalogue.services.values() for hosts in entry.service.hosts.values())
    return [*(name for some in hosts for name in some), *settings.proxy.also]


def open_catalogue(settings: Settings) -> Catalogue:
    """The catalogue that is in effect."""
    return catalogues.load(catalogue_files.newest(settings.catalogue.home), settings.catalogue.overrides)


def worker_options(settings: Settings) -> Options:
    """What workers are made from. Raises OSError and ValueError."""
    dlp, proxy = settings.dlp, settings.proxy
    return Options(
        regions=dlp.regions,
        names=tuple(map(Path, dlp.names)),
        words=tuple(map(Path, dlp.words)),
        lists=tuple(map(Path, dlp.lists)),
        key=read_key(dlp.key) if dlp.key else b"",
        detectors=tuple(map(Path, dlp.detectors)),
        disabled=dlp.disabled,
        excerpt=proxy.excerpt,
        seal_to=proxy.seal_to,
        corporate=proxy.corporate,
    )


def parts(settings: Settings, catalogue: Catalogue, workers: Workers, sink: Delivery) -> Parts:
    """Everything the addon needs. Raises OSError and ValueError with what is wrong in the settings."""
    proxy = settings.proxy
    grants = Grants(proxy.coach_minutes * 60)
    tenants = tenant.read(proxy.tenants)
    rules = policy.load(settings.policy.file) if settings.policy.file else None
    return Parts(
        catalogue=catalogue,
        targets=Targets(catalogue, proxy.also, tenant.logins(tenants)),
        actions=Actions(
            rules,
            catalogue,
            workers,
            enforce=proxy.enforce,
            closed=proxy.closed,
            limiter=Limiter(proxy.tokens_per_hour, proxy.upload_per_hour),
            grants=grants,
        ),
        workers=workers,
        sink=sink,
        local=Local(
            proxy.address or proxy.listen,
            proxy.home / ca.PUBLIC,
            ca.fingerprint(proxy.home),
            names(catalogue, settings),
            grants,
            proxy.coach_minutes * 60,
        ),
        key=HashKey(proxy.home / HASH_KEY, proxy.key_days).key,
        people=People(
            inventory.load(settings.inventory.csv) if settings.inventory.csv else inventory.Inventory()
        ),
        exceptions=Exceptions(proxy.exceptions),
        gaps=Gaps(proxy.pinned_hours * 3600),
        tenants=tenants,
        hold=proxy.hold,
        pass_pinned=proxy.pinned == "pass",
    )


def who_is_let_in(settings: Settings) -> auth.Check | None:
    """Raises ValueError and OSError with what is wrong."""
    check, mode = auth.check(settings.proxy.auth), settings.proxy.mode
    if check and mode not in ASKING:
        raise ValueError(f"proxy.auth: in {mode} mode clients are not asked who they are")
    return check


def master(settings: Settings, made: Parts, check: auth.Check | None) -> tuple[Master, Callable[[], int]]:
    """mitmproxy, ready to run, and how often our own code failed. Call it in a running loop."""
    layers.HttpStream = BoundedStream  # type: ignore[misc]  # what mitmproxy makes for each request
    sockets.bound()
    proxy, handshakes = settings.proxy, Handshakes(made)
    inspection = Inspection(made, handshakes)
    host, port = address(proxy.listen)
    if proxy.mode == "wireguard":
        _wireguard_keys(proxy.home / WIREGUARD_KEYS)
    opts = options.Options(listen_host=host, listen_port=port, mode=[proxy.mode], confdir=str(proxy.home))
    found = Master(opts)
    found.addons.add(
        core.Core(),
        block.Block(),
        disable_h2c.DisableH2C(),
        auth.Auth(check, inspection.local),
        proxyserver.Proxyserver(),
        dns_resolver.DnsResolver(),
        handshakes,
        inspection,
        next_layer.NextLayer(),
        Certificates(),
        upstream_auth.UpstreamAuth(),
    )
    upstream = str(proxy.upstream_ca) if proxy.upstream_ca else None
    found.options.update(
        # Not open to the Internet: for private addresses, names, or what a gateway sends.
        block_global=check is None and proxy.mode not in INTERCEPTING,
        proxyauth="any" if check else None,
        ssl_verify_upstream_trusted_ca=upstream,
        validate_inbound_headers=True,
    )
    return found, lambda: handshakes.errors + inspection.errors


async def run(settings: Settings, open_delivery: Callable[[], Delivery], ready: Callable[[], None]) -> int:
    """Serve until SIGTERM or SIGINT; then the number of failures of our own code."""
    _free(settings.proxy.listen, settings.proxy.mode)
    catalogue, check = open_catalogue(settings), who_is_let_in(settings)
    workers = Workers(worker_options(settings), settings.proxy.workers)
    await workers.warm()
    sink = open_delivery()
    try:
        proxy, errors = master(settings, parts(settings, catalogue, workers, sink), check)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, proxy.shutdown)
        serving = asyncio.create_task(proxy.run())
        await _listening(proxy, serving)
        _wireguard_client(proxy, settings)
        gc.collect()
        gc.freeze()  # what stays is not looked at again: a full collection would hold the loop for 75 ms
        ready()
        await serving
    finally:
        workers.close()
        sink.close()
    return errors()


def _free(listen: str, mode: str) -> None:
    """Raises OSError when the address cannot be listened at, before all that takes time."""
    try:
        bind(*address(listen), socket.SOCK_DGRAM if mode == "wireguard" else socket.SOCK_STREAM).close()
    except OSError as error:
        raise OSError(f"proxy.listen: {error}") from None


async def _listening(proxy: Master, serving: asyncio.Task[None]) -> None:
    """Wait until it accepts connections. Raises OSError when it cannot."""
    servers = proxy.addons.get("proxyserver").servers
    while not serving.done():
        instances = list(servers)
        if instances and all(instance.is_running for instance in instances):
            return
        if failed := next((i.last_exception for i in instances if i.last_exception), None):
            proxy.shutdown()
            await serving
            raise OSError(str(failed))
        await asyncio.sleep(0.02)
    await serving


def _wireguard_keys(path: Path) -> None:
    """Made here, because mitmproxy lets others read them."""
    if not path.exists():
        keys = {name: mitmproxy_rs.wireguard.genkey() for name in ("server_key", "client_key")}
        private_file(path, json.dumps(keys).encode())


def _wireguard_client(proxy: Master, settings: Settings) -> None:
    """A file that makes a machine a client. It has a private key: it is not printed, for what is printed is
    logged."""
    for server in proxy.addons.get("proxyserver").servers:
        if conf := getattr(server, "client_conf", lambda: "")():
            if settings.proxy.address:
                conf = re.sub("(?m)^Endpoint = .*", f"Endpoint = {settings.proxy.address}", conf)
            private_file(settings.proxy.home / WIREGUARD_CLIENT, f"{conf}\n".encode())
