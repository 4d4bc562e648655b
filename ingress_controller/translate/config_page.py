"""Prints docs/configmap.md: `python -m ingress_controller.translate.config_page`.

Everything in it is read from the table, and a test compares the file with what this prints.
"""

from ingress_controller.translate.config import ROWS

_BEFORE = """\
# Options in a ConfigMap

Made by `python -m ingress_controller.translate.config_page` from its table.

Some options may change while the program runs. They stand in a ConfigMap,

* for all Ingresses: the one that `--config NAMESPACE/NAME` names;
* for the Ingresses of one class: the one that its IngressClass names.

```yaml
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata:
  name: python
spec:
  controller: python-ingress.dev/controller
  parameters:
    kind: ConfigMap
    scope: Namespace
    namespace: python-ingress
    name: options-of-class-python
```

Of an option that is set in several places, an annotation of the Ingress counts first, then the
ConfigMap of its class, then that of `--config`, then the flag. A change is served as quickly as one
of an Ingress, and closes no connection. A key that is not in the table, or a value that cannot be
read, has no effect and is a finding of `check`; so is a ConfigMap that does not exist.

The controller must be allowed to read the ConfigMap: the roles in `manifests/` allow it in the
controller's own namespace. Who may write there decides for everybody; therefore what guards
namespaces from each other (`--allow-external-name`, `--allow-shared-hosts`,
`--catch-all-namespace`) is set by flags alone.

| key | also as ingress-nginx's | values | meaning |
|---|---|---|---|"""


def page() -> str:
    """The whole page."""
    rows = [
        f"| `{row.name}` | {'yes' if row.nginx else ''} | {row.values} | {row.text} |"
        for row in ROWS
    ]
    return "\n".join([_BEFORE, *rows]) + "\n"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 # its purpose
