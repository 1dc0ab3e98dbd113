# Sluice: its command line and worker, and the example shop of docker-compose.yml.
#   docker build --tag sluice:0.1.0 .

# glibc, which Temporal's native worker is built for; the version is the one it is developed and tested on.
ARG NODE_IMAGE=node:24.21.0-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts/lib/bundle-workflows.cjs scripts/lib/
COPY src ./src
RUN npm run build && rm -f dist/.tsbuildinfo && chmod 755 dist/cli/main.js && npm prune --omit=dev --no-audit --no-fund

FROM ${NODE_IMAGE} AS runtime
# glibc would keep an arena for each thread, and freed memory in each: a worker has some twenty threads.
ENV NODE_ENV=production MALLOC_ARENA_MAX=2
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY schema ./schema
COPY examples/compose ./examples/compose
RUN ln -s /app/dist/cli/main.js /usr/local/bin/sluice
# Nothing is written but what a command is told to: the root file system may be read-only.
USER node
ENTRYPOINT ["sluice"]
CMD ["--help"]
