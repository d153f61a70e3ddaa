# The server alone: TensorFlow and ONNX Runtime, nothing of training.
# Build it with docker/build.sh serving; docs/containers.md has the rest.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY docker/install.sh docker/
COPY requirements/serving.txt requirements/
COPY pyproject.toml README.md ./
COPY common common
COPY modelstore modelstore
COPY serving serving
RUN --mount=type=secret,id=environment --mount=type=secret,id=ca \
    sh docker/install.sh requirements/serving.txt
# Bytecode of what a server imports, and of nothing else.
RUN /opt/visionline/bin/python -c "from serving.cli import start_lean; start_lean(); \
import serving.server"

FROM ${BASE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="visionline serving" \
      org.opencontainers.image.description="Serves the models that visionline pushes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN echo 'visionline:x:65532:65532::/tmp:/usr/sbin/nologin' >> /etc/passwd \
    && install -d -o 65532 -g 65532 /mnt/models
COPY --from=build /opt/visionline /opt/visionline
# PYTHONSAFEPATH: the working folder is no place to import from.
ENV PATH=/opt/visionline/bin:$PATH HOME=/tmp \
    ORT_DISABLE_TELEMETRY=1 HF_HUB_DISABLE_TELEMETRY=1 ENABLE_RUNTIME_UPTIME_TELEMETRY=0 \
    MLFLOW_DISABLE_TELEMETRY=true \
    PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /mnt/models
EXPOSE 8500 8501
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/readyz', timeout=4)"]
ENTRYPOINT ["python", "-m", "serving", "--host", "0.0.0.0"]
CMD ["/mnt/models"]
