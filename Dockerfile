# The daemon itself in a container. It makes sandboxes by the host's engine, which mounts folders of the host into them:
# DATA_DIR and RUN_DIR have to be mounted at the same path as on the host.
#
#   docker build -t worker-front .
#   docker run -d --name worker-front --restart unless-stopped -p 127.0.0.1:8222:8222 \
#     -v /var/run/docker.sock:/var/run/docker.sock \
#     -v /var/lib/worker-front:/var/lib/worker-front -v /run/worker-front:/run/worker-front \
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
ENV NODE_ENV=production DATA_DIR=/var/lib/worker-front RUN_DIR=/run/worker-front WORKER_FRONT_HOST=0.0.0.0
EXPOSE 8222
ENTRYPOINT ["node", "/app/dist/bin/worker-front.js"]
CMD ["start"]
