"""Secret and ConfigMap of `v1`: kept for the features that refer to them."""

import msgspec

from ingress_controller.objects.meta import ObjectMeta


class Secret(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Prints without its values: secrets live in memory and are never logged."""

    metadata: ObjectMeta
    type: str = "Opaque"
    data: dict[str, str] = {}
    """Values in base64, as the API writes them."""
    string_data: dict[str, str] = {}
    """Plain values that a manifest may carry instead; they win over ``data``."""

    def __repr__(self) -> str:
        names = sorted({*self.data, *self.string_data})
        return (
            f"Secret({self.metadata.namespace}/{self.metadata.name}, type={self.type!r}, "
            + ", ".join(f"{name}=<redacted>" for name in names)
            + ")"
        )


class ConfigMap(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Named texts."""

    metadata: ObjectMeta
    data: dict[str, str] = {}
