# The daemon itself in a container. It makes sandboxes by the host's engine, which mounts folders of the host into them:
# DATA_DIR, and RUN_DIR below it, has to be mounted at the same path as on the host. It runs as user 10002, which functions
# never are, on a read-only root without capabilities. All it needs: the engine's socket (by its group), DATA_DIR, a small /tmp,
# and a port. Who may talk to the engine's socket may become root on the machine: that is what this container is trusted with.
#
#   docker build -t worker-front .
#   install -d -m 0700 -o 10002 -g 10002 /var/lib/worker-front
#   docker run -d --name worker-front --restart unless-stopped -p 127.0.0.1:8222:8222 \
#     --read-only --tmpfs /tmp:size=64m --cap-drop ALL --security-opt no-new-privileges \
#     --group-add "$(stat -c %g /var/run/docker.sock)" -v /var/run/docker.sock:/var/run/docker.sock \
#     -v /var/lib/worker-front:/var/lib/worker-front \
#     -e API_TOKEN=... -e CODE_SOURCE=s3://bucket/prefix worker-front
#
# BUILD_IMAGE needs Node.js and npm, RUN_IMAGE Node.js. Build settings (CA bundle, npm registry) that lie in a folder
# `settings` (see images/build/with-settings) reach the first stage only.
ARG BUILD_IMAGE=node:22-bookworm-slim
ARG RUN_IMAGE=node:22-bookworm-slim

FROM ${BUILD_IMAGE} AS build
WORKDIR /app
COPY images/build/ /build/
# The package file is there for the pattern, which may match nothing.
COPY package.json setting[s] /build/settings/
COPY package.json package-lock.json ./
RUN /build/with-settings npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts/clean-dist.mjs scripts/
COPY src/ src/
RUN npm run build && npm prune --omit=dev --no-audit --no-fund

FROM ${RUN_IMAGE}
WORKDIR /app
COPY package.json ./
COPY images/ images/
COPY --from=build /app/node_modules/ node_modules/
COPY --from=build /app/dist/ dist/
ENV NODE_ENV=production DATA_DIR=/var/lib/worker-front RUN_DIR=/var/lib/worker-front/run WORKER_FRONT_HOST=0.0.0.0
USER 10002:10002
EXPOSE 8222
ENTRYPOINT ["node", "/app/dist/bin/worker-front.js"]
CMD ["start"]
