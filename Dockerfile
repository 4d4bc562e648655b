# The image of the controller; nothing in it is specific to an architecture.
#   docker buildx build --platform linux/amd64,linux/arm64 -t ghcr.io/python-ingress/controller:0.1.0 .
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Dependencies first: they change less often than the program. Wheels only, so that nothing is
# compiled and each file has the hash that was tested.
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python -m venv --without-pip /opt/python-ingress \
 && python -m pip --python /opt/python-ingress/bin/python install \
      --only-binary :all: --require-hashes -r requirements/runtime.txt \
 && python -m pip install --only-binary :all: --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY ingress_controller/ ingress_controller/
COPY router/ router/
COPY tls/ tls/
# The file system will be read-only: bytecode is written now, or never.
RUN python -m pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist . \
 && python -m pip --python /opt/python-ingress/bin/python install --no-deps --no-index dist/*.whl \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/python-ingress/lib

FROM ${PYTHON_IMAGE}
# What installs and builds has no place here. The standard library comes without bytecode; with it the
# program starts in one second instead of four.
RUN python -m pip --disable-pip-version-check uninstall --root-user-action ignore --yes pip \
 && library="$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && rm -rf "$library/ensurepip" "$library/idlelib" "$library/tkinter" "$library/turtledemo" \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$library"
COPY --from=build /opt/python-ingress /opt/python-ingress
# HOME: the Kubernetes client looks for it when it is imported, and this user has no entry.
ENV PATH=/opt/python-ingress/bin:$PATH HOME=/ PYTHONDONTWRITEBYTECODE=1
ARG PYTHON_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="python-ingress" \
      org.opencontainers.image.description="A Kubernetes ingress controller that explains every request" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
USER 65532:65532
EXPOSE 8080 8443 10254
# The program is the first process: it handles SIGTERM itself (drains) and reaps what it inherits.
ENTRYPOINT ["ingress-controller"]
CMD ["run"]
