"""The endpoint sets of all upstreams in use, merged from slices without any route."""

from collections.abc import MutableMapping

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import Name, Store
from ingress_controller.translate.addresses import Guard, external_address
from ingress_controller.translate.backends import Backends
from ingress_controller.translate.diagnostics import Diagnostic, order
from ingress_controller.translate.endpoints import (
    SliceReading,
    about_endpoints,
    collect,
    read_endpoints,
    read_slice,
)
from ingress_controller.translate.services import EXTERNAL_NAME
from router.model.upstreams import Endpoint, EndpointSet, UpstreamKey


class EndpointSets:
    """Endpoints by upstream. Slices of Services that no route leads to are never read."""

    __slots__ = ("_backends", "_guard", "_slices_read", "_store", "current")

    def __init__(self, store: Store, backends: Backends, guard: Guard) -> None:
        self._store = store
        self._backends = backends
        self._guard = guard
        self._slices_read: dict[Name, SliceReading] = {}
        """Of Services with several slices, of which mostly one changes."""
        self.current: dict[UpstreamKey, EndpointSet] = {}

    def forget_slice(self, name: Name) -> None:
        """A slice is different or gone."""
        self._slices_read.pop(name, None)

    def drop(
        self, key: UpstreamKey, changed: MutableMapping[UpstreamKey, EndpointSet | None]
    ) -> None:
        """An upstream is no longer in use."""
        if self.current.pop(key, None) is not None:
            changed[key] = None

    def refresh(
        self, service: Name, changed: MutableMapping[UpstreamKey, EndpointSet | None]
    ) -> tuple[Diagnostic, ...]:
        """Collects the endpoints of a Service's upstreams anew; puts those that are different
        into ``changed``, and answers everything there is to say about them."""
        keys = self._backends.targets_of.of(service)
        if not keys:
            return ()
        spec = self._store.services[service].spec
        readings = self._readings(service)
        found: dict[Diagnostic, None] = {}
        for key in keys:
            port = self._backends.targets[key].port
            if spec.type == EXTERNAL_NAME:
                address = external_address(spec.external_name)
                endpoints = EndpointSet((Endpoint(address, port.port),))
            else:
                endpoints = collect(port.name, readings)
                said = about_endpoints(service, port.name, endpoints, readings)
                if said is not None:
                    found[said] = None
            if self.current.get(key) != endpoints:
                self.current[key] = changed[key] = endpoints
        for reading in readings:
            found.update(dict.fromkeys(reading.diagnostics))
        return tuple(sorted(found, key=order)) if found else ()

    def sources(self, service: Name) -> tuple[ObjectKey, ...]:
        """The objects that the endpoints of a Service are read from."""
        slices = sorted(name for name, _ in self._store.slices_of(service))
        if slices:
            return tuple(ObjectKey("EndpointSlice", *name) for name in slices)
        return (ObjectKey("Endpoints", *service),) if service in self._store.endpoints else ()

    def _readings(self, service: Name) -> list[SliceReading]:
        slices = list(self._store.slices_of(service))
        if len(slices) == 1:
            name, item = slices[0]
            self._slices_read.pop(name, None)
            return [read_slice(item, self._guard)]
        readings = []
        for name, item in slices:
            reading = self._slices_read.get(name)
            if reading is None:
                reading = self._slices_read[name] = read_slice(item, self._guard)
            readings.append(reading)
        endpoints = self._store.endpoints.get(service)
        if not readings and endpoints is not None:
            readings.append(read_endpoints(endpoints, self._guard))
        return readings
