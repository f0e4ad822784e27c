# The image that the action runs in: one static binary with its own root
# certificates and time zones, on a base that has sh, env and tail, because
# Actions Runner Controller's Kubernetes mode starts a container's job with them.
ARG GO_IMAGE=docker.io/library/golang:1.26-alpine
ARG BASE_IMAGE=docker.io/library/busybox:1.37-musl

# The compiler runs on the machine's own platform and builds for the target's.
FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
WORKDIR /src
COPY go.mod go.sum main.go ./
COPY internal ./internal
# The caches are shared by the builds for all platforms, so that each module is
# downloaded once; only those that the program needs are.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /promote .

FROM ${BASE_IMAGE}
COPY --from=build /promote /promote
# No USER: a container action must run as root. The files that the runner mounts
# for outputs and summary belong to its own user and are not writable by others
# (https://docs.github.com/en/actions/reference/workflows-and-actions/dockerfile-support#user,
# https://github.com/actions/runner-images/issues/10915). The program writes no
# other file.
ENTRYPOINT ["/promote"]
