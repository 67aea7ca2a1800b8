# One image for every service: `gantryd --target=<services>`. Build: docker build -t gantry .
# syntax-free on purpose: classic builders and buildah take it as it is.

FROM node:20-bookworm-slim AS console
WORKDIR /src/console
COPY services/gateway/console/package.json services/gateway/console/package-lock.json* services/gateway/console/.npmrc* ./
RUN if [ -f package-lock.json ]; then npm ci --no-audit --no-fund; else npm install --no-audit --no-fund; fi
COPY services/gateway/console ./
RUN npm run build

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock clippy.toml ./
COPY .config .config
COPY libs libs
COPY schemas schemas
COPY services services
COPY xtask xtask
COPY integration-tests integration-tests
# After the sources, so that the built console replaces whatever lay there.
COPY --from=console /src/console/dist services/gateway/console/dist
RUN cargo build --profile dist --locked -p gantry-all -p gantry-cli

FROM debian:bookworm-slim AS runtime
# git serves repositories, buildah builds images, curl is the probe (ports ask for a client certificate); haproxy, nftables, nfs-common
# and the CNI plugins are for the agent. CRIU is not in this distribution: live migration needs it on the node.
RUN apt-get update -q \
 && apt-get install -y --no-install-recommends ca-certificates curl git buildah haproxy nftables iptables iproute2 iputils-arping e2fsprogs nfs-common containernetworking-plugins \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/gantry --create-home gantry
COPY --from=build /src/target/dist/gantryd /src/target/dist/gantry /usr/local/bin/
USER 10001:10001
WORKDIR /var/lib/gantry
EXPOSE 7401 7402 7403 7404 7405 7406 7407 7443
ENTRYPOINT ["/usr/local/bin/gantryd"]
CMD ["--target=all"]
