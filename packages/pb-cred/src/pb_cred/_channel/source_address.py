"""This module tells the source address of a login, by which tries are counted."""

from __future__ import annotations

from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address
from typing import Any

__all__ = ["source_of"]


def source_of(peer: object) -> Hashable:
    """Return the key by which tries from an address are counted; None for no address.

    Args:
        peer: The address, as the transport tells it.

    Returns:
        The host; of IPv6, the network, in which one host has as many addresses as it
        likes.
    """
    host: Any = getattr(peer, "host", None)
    if not isinstance(host, str):
        return None
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return address.packed
    mapped = address.ipv4_mapped
    return address.packed[:8] if mapped is None else mapped.packed
