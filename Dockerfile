# realtime-chat in a container: `docker build -t realtime-chat .`, then `docker run -p 4000:4000 realtime-chat`.
# Settings are environment variables (-e): see the README. docs/OPERATIONS.md has more.

FROM node:22-bookworm-slim AS page
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY esbuild.config.mjs ./
COPY assets assets
RUN npm run --silent build:release

FROM rust:1.95-slim-bookworm AS server
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY apps apps
COPY crates crates
COPY src src
RUN cargo build --release --locked

# No shell, no package manager; `nonroot` is user 65532. The same Debian as the image that the server is built in.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=server /build/target/release/realtime-chat /usr/local/bin/realtime-chat
COPY --from=page /build/priv/static /srv/static
# in a container, 127.0.0.1 is only reachable from within the container
ENV HOST=0.0.0.0 PORT=4000 STATIC_DIR=/srv/static OPS_LISTEN=0.0.0.0:9464 STORE=sqlite:/home/nonroot/chat.db
# the messages; the folder belongs to `nonroot`, and so does a volume that Docker makes for it
VOLUME /home/nonroot
# clients; /healthz, /readyz and /metrics, which need not be published
EXPOSE 4000 9464
HEALTHCHECK --interval=10s --timeout=5s \
    CMD ["/usr/local/bin/realtime-chat", "--health-check"]
# clients are disconnected before it ends: use `docker stop -t 60`, as the default of 10 s may be too short for many
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/realtime-chat"]
