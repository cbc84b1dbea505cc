# syntax=docker/dockerfile:1
# The node on Debian, without a shell in between and without root. Stop it with a minute of patience
# (docker stop --time 60): a primary lets its running jobs end for 30 seconds.

# The version is the rust-version of Cargo.toml; the Debian release is that of the second stage, for the same C library.
FROM rust:1.95.0-slim-trixie AS build
WORKDIR /src
COPY . .
# Registry and target directory are kept between builds, so that only what changed is compiled.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin node && \
    install -D --strip --mode 0755 target/release/node /out/node

FROM debian:trixie-slim
RUN apt-get update && \
    apt-get install --yes --no-install-recommends ca-certificates && \
    rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 outpost && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin outpost && \
    install --directory --owner 10001 --group 10001 --mode 0750 /data
COPY --from=build /out/node /usr/local/bin/node
# By number, so that a platform can check that it is not root without reading /etc/passwd of the image.
USER 10001:10001
ENV OUTPOST_DATA_DIR=/data \
    OUTPOST_LOG_FORMAT=json
VOLUME ["/data"]
# The public API, and the listener for other nodes where --sync-listen opens it.
EXPOSE 8000 8001
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/node"]
