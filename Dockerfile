# quell in a container: built from source, then the one program on a plain Debian.
#
#   docker build -t quell .
#
# quell listens to its own loopback only, so in a container something must stand in front of it and ask for credentials;
# docker-compose.yml and deploy/kubernetes/quell.yaml show how.

FROM rust:1.95.0-bookworm AS build
# librdkafka's configure asks for both compilers; make and they are in this image already, said here so that it is known.
RUN apt-get update && apt-get install -y --no-install-recommends build-essential && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --locked --profile dist --package quell --bin quell && cp target/dist/quell /usr/local/bin/quell

FROM debian:bookworm-slim
# The certificates of PostgreSQL servers, webhooks and collectors are checked against the system's.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
  && useradd --uid 10001 --no-create-home --home-dir /var/lib/quell --shell /usr/sbin/nologin quell \
  && install -d -o 10001 -g 10001 -m 0700 /var/lib/quell
COPY --from=build /usr/local/bin/quell /usr/local/bin/quell
COPY deploy/ready /usr/local/bin/quell-ready
USER 10001:10001
WORKDIR /var/lib/quell
VOLUME /var/lib/quell
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD ["quell-ready", "9096"]
ENTRYPOINT ["quell"]
CMD ["serve", "--data-dir", "/var/lib/quell"]
