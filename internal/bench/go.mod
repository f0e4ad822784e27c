module github.com/artifact-promotion/promote/internal/bench

go 1.26.0

require github.com/artifact-promotion/promote v0.0.0

require (
	github.com/olareg/olareg v0.1.2 // indirect
	github.com/opencontainers/go-digest v1.0.0 // indirect
)

replace github.com/artifact-promotion/promote => ../..
