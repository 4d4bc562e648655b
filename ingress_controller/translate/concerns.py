"""What one Ingress has to do with TLS, by host: from its reading and where its backends lead."""

from ingress_controller.store import Name
from ingress_controller.translate.backends import Backends
from ingress_controller.translate.config import ClassSettings
from ingress_controller.translate.ingress import ROOT, IngressReading
from ingress_controller.translate.verdicts import Claimant, PassthroughTo
from router.model.snapshot import Answer, HostPattern


def concerns(
    name: Name, reading: IngressReading, defaults: ClassSettings, backends: Backends
) -> dict[HostPattern, Claimant]:
    """One claimant for each host that the Ingress has rules for, or names in ``spec.tls``."""
    return {
        pattern: Claimant(
            name,
            reading.age,
            pattern in reading.claims,
            reading.settings,
            defaults,
            reading.tls.get(pattern, ()),
            _passthrough(reading, pattern, backends) if reading.settings.passthrough else None,
            reading.solver,
        )
        for pattern in {**reading.claims, **reading.tls}
    }


def _passthrough(
    reading: IngressReading, pattern: HostPattern, backends: Backends
) -> PassthroughTo | None:
    """Where connections for a host go, when nobody may look into them."""
    claims = reading.claims.get(pattern, ())
    whole = [claim for claim in claims if claim.path == ROOT]
    whole += [claim for claim in claims if claim.path.value == "/"]
    claim = whole[0] if whole else reading.default
    if claim is None:
        return None
    if isinstance(claim.backend, Answer) or reading.settings.closed:
        return PassthroughTo(None, claim.origin)
    upstream = backends.resolution(claim.backend).upstream
    return PassthroughTo(None if upstream is None else upstream.key, claim.origin)
