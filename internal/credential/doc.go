// Package credential finds what to log in with, for one side of a promotion and
// one repository. The places are looked at in this order, and the first that has
// something for the repository wins:
//
//	input          the side's own user name and password
//	entry          registry-auth: the longest registry prefix
//	docker config  a file that docker login wrote, credential helpers included
//	cloud          Amazon ECR, Google Artifact Registry, Azure: environment variables
//	token          github-token, on ghcr.io only
//	anonymous
//
// A credential has an origin: where it came from, in words for messages. Its
// value is never printed, and never written to disk. A notice is why a place
// that was expected to have something had nothing: worth showing once the
// registry refuses. A hint is what to do then.
package credential
