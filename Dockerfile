# docker build -t avscan .

# Debian's stable release has no supercronic. It is one binary that needs only libc.
FROM debian:sid-slim AS supercronic
RUN apt-get update \
    && apt-get install -y --no-install-recommends supercronic \
    && rm -rf /var/lib/apt/lists/*

FROM debian:trixie-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/avscan
WORKDIR /src
# The dependencies change less often than avscan, so they have a layer of their own.
COPY pyproject.toml ./
RUN python3 -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*project["dependencies"], *project["optional-dependencies"]["demo"], sep="\n")' > requirements.txt \
    && /tools/bin/pip --python /opt/avscan/bin/python install --no-cache-dir -r requirements.txt
COPY README.md LICENSE ./
COPY avscan avscan
RUN /tools/bin/pip --python /opt/avscan/bin/python install --no-cache-dir --no-deps .

FROM debian:trixie-slim
LABEL org.opencontainers.image.title="avscan" \
      org.opencontainers.image.description="Scans every build that is uploaded to Zapuskalka with ClamAV" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="docker.io/library/debian:trixie-slim"
# In this release 7zz is in 7zip-standalone; 7zip has only wrappers of other names.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates clamav clamav-freshclam python3 \
       7zip-standalone libarchive-tools lz4 lzip lzop \
    && rm -rf /var/lib/apt/lists/* /var/lib/clamav/* \
    && install -d -o 65532 -g 65532 /work /signatures
COPY --from=supercronic /usr/bin/supercronic /usr/local/bin/supercronic
COPY --from=build /opt/avscan /opt/avscan
COPY crontab /etc/avscan/crontab
ENV PATH=/opt/avscan/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/work \
    TMPDIR=/work \
    WORK_DIR=/work \
    SIGNATURE_DIR=/signatures
# A user without a name, a home or a shell.
USER 65532:65532
VOLUME ["/work", "/signatures"]
# The first signatures arrive after some minutes.
HEALTHCHECK --start-period=15m --interval=2m --timeout=1m CMD ["avscan", "health"]
# On a signal supercronic waits for its jobs and does not pass the signal on: the shell sends it to all.
CMD ["sh", "-c", "trap 'kill -TERM -1' TERM INT; supercronic -json -quiet -passthrough-logs -no-reap /etc/avscan/crontab & wait $! || wait $!"]
