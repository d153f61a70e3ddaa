# The pipeline, `visionline`, for CPUs or with CUDA.
# Build it with docker/build.sh pipeline; docs/containers.md has the rest.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG VARIANT=cpu
WORKDIR /src
COPY docker/install.sh docker/cuda_stand_ins.py docker/
COPY requirements/pipeline-${VARIANT}.txt requirements/
COPY pyproject.toml README.md ./
COPY common common
COPY components components
COPY lineage lineage
COPY modelstore modelstore
COPY pipeline pipeline
COPY serving serving
COPY trainers trainers
RUN --mount=type=secret,id=environment --mount=type=secret,id=ca \
    sh docker/install.sh "requirements/pipeline-${VARIANT}.txt" \
    && if [ "${VARIANT}" = cpu ]; then \
        python3.11 docker/cuda_stand_ins.py /opt/visionline/lib/python3.11/site-packages/torch/lib; \
    fi
# Bytecode of what the steps import, and of nothing else.
RUN /opt/visionline/bin/visionline --help >/dev/null \
    && /opt/visionline/bin/python -c "import pipeline.dag, tfx.components" \
    && /opt/visionline/bin/python -c "import trainers.keras_backend.backend" \
    && /opt/visionline/bin/python -c "import trainers.torch_backend.backend"

FROM ${BASE}
ARG VARIANT=cpu
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="visionline pipeline (${VARIANT})" \
      org.opencontainers.image.description="From a folder of labelled images to a served model" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN echo 'visionline:x:65532:65532::/tmp:/usr/sbin/nologin' >> /etc/passwd \
    && install -d -o 65532 -g 65532 /mnt/models /workspace
COPY --from=build /opt/visionline /opt/visionline
ENV PATH=/opt/visionline/bin:$PATH HOME=/tmp USER=visionline \
    ORT_DISABLE_TELEMETRY=1 HF_HUB_DISABLE_TELEMETRY=1 ENABLE_RUNTIME_UPTIME_TELEMETRY=0 \
    MLFLOW_DISABLE_TELEMETRY=true \
    PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 \
    VISIONLINE_REVISION=${REVISION}
USER 65532:65532
WORKDIR /workspace
ENTRYPOINT ["visionline"]
CMD ["--help"]
