"""Options that a ConfigMap sets: for all Ingresses (``--config``), or for those of a class.

``IngressClass.spec.parameters`` may name a ConfigMap, which needs ``scope: Namespace``. Of an
option that is set in several places, an annotation of the Ingress counts first, then its class,
then ``--config``, then the flag. Names are those of our flags, which are those of ingress-nginx's
ConfigMap where that has an option of the same meaning.

What guards one tenant from another (external names, shared hosts, denied addresses) stands in no
such table: who may write a ConfigMap need not be trusted as who starts the controller.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from ingress_controller.objects.config import ConfigMap
from ingress_controller.objects.meta import quoted
from ingress_controller.store import key_of
from ingress_controller.translate.annotations import parsers
from ingress_controller.translate.annotations.settings import hsts_value
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode
from ingress_controller.translate.options import Options
from tls.policy import Profile

MAX_UNKNOWN = 20
"""Unknown keys that are named one by one; a ConfigMap may hold thousands."""


class ClassSettings(msgspec.Struct, frozen=True, gc=False):
    """What holds for an Ingress where its annotations say nothing else."""

    ssl_redirect: bool
    force_ssl_redirect: bool
    hsts: str
    """Value of Strict-Transport-Security; empty sends none."""
    tls_profile: Profile

    @classmethod
    def of(cls, options: Options) -> "ClassSettings":
        """What the flags say."""
        return cls(
            options.ssl_redirect, options.force_ssl_redirect, options.hsts, options.tls_profile
        )


class OptionRow(NamedTuple):
    """One key of a ConfigMap."""

    name: str
    parse: Callable[[str], Any]
    """As in `parsers`."""
    values: str
    """For the docs."""
    nginx: bool
    """ingress-nginx's ConfigMap has a key of this name and meaning."""
    text: str


ROWS = (
    OptionRow(
        "ssl-redirect",
        parsers.boolean,
        "true, false",
        True,
        "Answer plain requests for hosts with TLS by 308 to the https URL.",
    ),
    OptionRow(
        "force-ssl-redirect",
        parsers.boolean,
        "true, false",
        True,
        "Redirect hosts without TLS, too: for a load balancer in front that ends TLS.",
    ),
    OptionRow(
        "hsts",
        parsers.boolean,
        "true, false",
        True,
        "Send Strict-Transport-Security on answers over https of hosts with TLS. "
        "(ingress-nginx does so by default.)",
    ),
    OptionRow(
        "hsts-max-age",
        parsers.seconds,
        "seconds",
        True,
        "How long browsers shall remember it; 31536000 where only the others are there. It means "
        "`hsts: true`, as the next two do, and the four together replace what the flags say.",
    ),
    OptionRow(
        "hsts-include-subdomains",
        parsers.boolean,
        "true, false",
        True,
        "Say that it holds for all subdomains, too; true where only the others are there.",
    ),
    OptionRow(
        "hsts-preload",
        parsers.boolean,
        "true, false",
        True,
        "Say that browsers may have the host built in.",
    ),
    OptionRow(
        "tls-profile",
        parsers.profile,
        "intermediate, modern",
        False,
        "Mozilla's profile for clients: TLS 1.2 and 1.3, or 1.3 alone.",
    ),
)
_BY_NAME = {row.name: row for row in ROWS}


class ConfigRead(NamedTuple):
    """What was found."""

    settings: ClassSettings
    diagnostics: tuple[Diagnostic, ...]


def read_config(config_map: ConfigMap, base: ClassSettings) -> ConfigRead:
    """What a ConfigMap makes of ``base``; a key that cannot be read leaves its option as it is."""
    values: dict[str, Any] = {}
    found: list[Diagnostic] = []
    for row in ROWS:
        text = config_map.data.get(row.name)
        if text is None:
            continue
        try:
            values[row.name] = row.parse(text.strip())
        except ValueError as error:
            found.append(_invalid(config_map, row, text.strip(), str(error)))
    found += _unknown(config_map)
    return ConfigRead(_replaced(base, values), tuple(found))


def _replaced(base: ClassSettings, values: Mapping[str, Any]) -> ClassSettings:
    hsts = hsts_value(
        on=values.get("hsts"),
        max_age=values.get("hsts-max-age"),
        include_subdomains=values.get("hsts-include-subdomains"),
        preload=values.get("hsts-preload"),
    )
    return ClassSettings(
        ssl_redirect=values.get("ssl-redirect", base.ssl_redirect),
        force_ssl_redirect=values.get("force-ssl-redirect", base.force_ssl_redirect),
        hsts=base.hsts if hsts is None else hsts,
        tls_profile=values.get("tls-profile", base.tls_profile),
    )


def _unknown(config_map: ConfigMap) -> Iterator[Diagnostic]:
    """Keys that are no option."""
    names = sorted(name for name in config_map.data if name not in _BY_NAME)
    for name in names[:MAX_UNKNOWN]:
        similar = difflib.get_close_matches(name[:100], _BY_NAME, n=1)
        remedy = "remove it; docs/configmap.md lists all options, and flags set what else there is"
        if similar:
            remedy = f"write {similar[0]}, or remove it"
        yield _warning(config_map, f"data[{name[:300]}]", "there is no such option", remedy)
    if len(names) > MAX_UNKNOWN:
        more = len(names) - MAX_UNKNOWN
        yield _warning(config_map, "data", f"{more} more keys are no options", "remove them")


def _warning(config_map: ConfigMap, field: str, message: str, remedy: str) -> Diagnostic:
    return Diagnostic(
        code=DiagnosticCode.OPTION_UNKNOWN,
        severity="warning",
        object=key_of(config_map),
        field=field,
        message=message,
        consequence="it has no effect",
        remedy=remedy,
    )


def _invalid(config_map: ConfigMap, row: OptionRow, text: str, remedy: str) -> Diagnostic:
    return Diagnostic(
        code=DiagnosticCode.OPTION_INVALID,
        severity="error",
        object=key_of(config_map),
        field=f"data[{row.name}]",
        message=f"{quoted(text)} is no value of {row.name}" if text else "it is empty",
        consequence="the option is what it is without this key",
        remedy=remedy,
    )
