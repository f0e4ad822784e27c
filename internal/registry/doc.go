// Package registry speaks the OCI distribution protocol to registries: manifests,
// blobs, tags and referrers of one repository at a time, by digest wherever
// there is one.
//
// Of ggcr it uses names, credentials, the challenge and the token exchange. The
// requests themselves are its own, because ggcr's remote package cannot resume
// a download, cannot send a body again with a fresh token (ggcr#1004, ggcr#2084),
// reads only the first page of referrers (ggcr#2446), sleeps in its retries
// without the context, and keeps a token for each repository and direction.
//
// A Client serves one run. It holds one session for each host and credential;
// a session asks one challenge and one token for all its repositories. What is
// true of a host whoever asks it, its sessions share: how much it takes at once,
// when it wants to be left alone, and what it has shown that it can do.
//
// Inside are wire (connections, slots, bounds), retry (one policy for small requests,
// tokens, downloads and uploads) and auth (challenges and tokens). A request goes
// through them from here: [call] for what is held in memory and sent again as a whole;
// download and upload for blobs that are streamed and resumed.
package registry
