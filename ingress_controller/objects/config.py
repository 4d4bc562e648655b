"""Secret and ConfigMap of `v1`: certificates, keys and authorities come from them."""

import base64
import binascii

import msgspec

from ingress_controller.objects.meta import ObjectMeta


class Kept(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Marks a Secret whose certificate is the last good one, not the newest (`retention`)."""

    until: int
    """Unix seconds when it is given up."""
    deleted: bool
    """The Secret is gone; else its newest version holds no pair that works."""
    reason: str = ""
    """What is wrong with the newest version."""
    field: str = ""
    """Where in it."""


class Secret(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Prints without its values: secrets live in memory and are never logged."""

    metadata: ObjectMeta
    type: str = "Opaque"
    data: dict[str, str] = {}
    """Values in base64, as the API writes them."""
    string_data: dict[str, str] = {}
    """Plain values that a manifest may carry instead; they win over ``data``."""
    kept: Kept | None = None
    """Never in a document; set by `ingress_controller.retention`."""

    def value(self, name: str) -> bytes | None:
        """One value, decoded; None when there is none of that name.

        Raises:
            ValueError: it is not base64.
        """
        plain = self.string_data.get(name)
        if plain is not None:
            return plain.encode("utf-8", "replace")
        written = self.data.get(name)
        if written is None:
            return None
        try:
            # Line breaks are fine, as they are for the API server; anything else odd is not.
            return base64.b64decode("".join(written.split()), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("the value is not base64") from None

    def __repr__(self) -> str:
        names = sorted({*self.data, *self.string_data})
        return (
            f"Secret({self.metadata.namespace}/{self.metadata.name}, type={self.type!r}, "
            + ", ".join(f"{name}=<redacted>" for name in names)
            + ")"
        )

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("secret", repr(self))]


class ConfigMap(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Named texts."""

    metadata: ObjectMeta
    data: dict[str, str] = {}
