"""Headers by which a vendor refuses accounts of other organisations than the one named.

Sources: help.openai.com "Workspace access with network headers"; support.anthropic.com "Tenant restrictions";
support.google.com/a/answer/1668854; learn.microsoft.com/entra "Restrict access to a tenant".
"""

from __future__ import annotations

from collections.abc import Mapping

# Vendor of the catalogue: its headers.
HEADERS = {
    "openai": ("ChatGPT-Allowed-Workspace-Id",),
    "anthropic": ("anthropic-allowed-org-ids",),
    "google": ("X-GoogApps-Allowed-Domains",),
    "microsoft": ("Restrict-Access-To-Tenants", "Restrict-Access-Context"),
}
# Where people log in: these are decrypted as well when the vendor has a tenant.
LOGINS = {
    "google": ("=accounts.google.com",),
    "microsoft": ("=login.microsoftonline.com", "=login.microsoft.com", "=login.windows.net"),
}


def read(entries: tuple[str, ...]) -> dict[str, tuple[tuple[str, str], ...]]:
    """Headers by vendor, from `openai=WORKSPACE` or `microsoft=example.com;DIRECTORY`. ValueError for what
    is none."""
    found = {}
    for entry in entries:
        vendor, _, value = entry.partition("=")
        values = value.split(";")
        names = HEADERS.get(vendor)
        if (
            names is None
            or len(values) != len(names)
            or not all(v.isascii() and v.isprintable() and v for v in values)
        ):
            known = ", ".join(
                f"{name}={';'.join('.' * 3 for _ in headers)}" for name, headers in HEADERS.items()
            )
            raise ValueError(f"proxy.tenants: {entry!a}: expected one of {known}")
        found[vendor] = tuple(zip(names, values, strict=True))
    return found


def logins(tenants: Mapping[str, object]) -> tuple[str, ...]:
    """Host patterns to decrypt for these vendors."""
    return tuple(name for vendor in tenants for name in LOGINS.get(vendor, ()))


def vendor_of(host: str, vendor: str) -> str:
    """The vendor whose headers a request gets; login hosts are in no service of the catalogue."""
    return vendor or next((name for name, hosts in LOGINS.items() if f"={host}" in hosts), "")
