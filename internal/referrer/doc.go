// Package referrer finds and attaches what hangs on a digest without being part
// of it: OCI 1.1 referrers, by the registry's API or the fallback tag
// sha256-<hex>, and cosign's artifacts under the tags sha256-<hex>.sig, .att and
// .sbom.
package referrer
