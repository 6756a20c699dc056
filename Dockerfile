# residual serve in a container.
#   docker build -t residual .                        the CPU
#   docker build -t residual:cuda --target cuda .     NVIDIA GPUs; run with --gpus all
#   docker run -p 8000:8000 residual                  http://localhost:8000/

FROM node:24-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /residual
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
# Kernels for every instruction set are built; which is used is decided where it runs.
RUN npm run build && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM nvidia/cuda:13.0.1-cudnn-devel-ubuntu24.04 AS build-cuda
RUN apt-get update && apt-get install -y --no-install-recommends cmake g++ make && rm -rf /var/lib/apt/lists/*
COPY --from=node:24-bookworm /usr/local/ /usr/local/
WORKDIR /residual
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
RUN npm run build:cuda

FROM nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04 AS cuda
COPY --from=node:24-bookworm-slim /usr/local/bin/node /usr/local/bin/node
WORKDIR /residual
COPY --from=build /residual/package.json ./
COPY --from=build /residual/node_modules ./node_modules
COPY --from=build /residual/bin ./bin
COPY --from=build /residual/dist ./dist
COPY --from=build /residual/build/Release ./build/Release
COPY --from=build /residual/gpus ./gpus
COPY --from=build /residual/models ./models
COPY --from=build /residual/page ./page
COPY --from=build /residual/protocol ./protocol
COPY --from=build /residual/samples ./samples
COPY --from=build-cuda /residual/build-cuda/Release ./build-cuda/Release
# Compiled plans are kept here: mount a volume to keep them longer than the container.
ENV NODE_ENV=production RESIDUAL_CACHE_DIR=/tmp/residual
USER 1000:1000
EXPOSE 8000 8001
ENTRYPOINT ["node", "bin/residual.js"]
CMD ["serve", "--host", "0.0.0.0", "--grpc-port", "8001", "--device", "cuda"]

FROM node:24-bookworm-slim AS cpu
WORKDIR /residual
COPY --from=build /residual/package.json ./
COPY --from=build /residual/node_modules ./node_modules
COPY --from=build /residual/bin ./bin
COPY --from=build /residual/dist ./dist
COPY --from=build /residual/build/Release ./build/Release
COPY --from=build /residual/gpus ./gpus
COPY --from=build /residual/models ./models
COPY --from=build /residual/page ./page
COPY --from=build /residual/protocol ./protocol
COPY --from=build /residual/samples ./samples
ENV NODE_ENV=production
USER 1000:1000
EXPOSE 8000 8001
ENTRYPOINT ["node", "bin/residual.js"]
CMD ["serve", "--host", "0.0.0.0", "--grpc-port", "8001", "--device", "cpu"]
