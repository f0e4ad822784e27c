// Package registry speaks the OCI distribution protocol to registries: manifests,
// blobs, tags and referrers of one repository at a time, by digest where the caller has
// one.
//
// It uses the names, the credentials, the challenge and the token exchange of
// go-containerregistry (ggcr). The requests are its own, because ggcr's remote package
// cannot resume a download, cannot resend a body with a fresh token (ggcr#1004,
// ggcr#2084), reads only the first page of referrers (ggcr#2446), sleeps between retries
// without the context, and keeps a token for each repository and direction.
//
// A Client serves one run. It has one session for each host and credential. A session
// requests one challenge, and one token for up to 30 of its repositories. The sessions of a
// host share what does not depend on the credential: its request limit, its throttling, and
// its capabilities.
//
// Inside are wire (connections, slots, bounds), retry (one policy for small requests,
// tokens, downloads and uploads) and auth (challenges and tokens). A [call] is a small
// request: its body is in memory, and a retry sends the whole of it. A [download] and an
// [uploader] stream a blob, and resume it after a failure.
package registry
