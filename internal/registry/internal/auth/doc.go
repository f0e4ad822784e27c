// Package auth finds out how a registry wants to be asked, and gets the tokens for it:
// one challenge a host and credential, and one token for up to 30 of its repositories.
//
// The ping, the exchange and the parsing of tokens are go-containerregistry's. Around
// them stand what it lacks: any form of challenge that RFC 9110 allows, retries, and the
// rule that a credential goes to the registry's own host, or to the token service that it
// names, and to no address that a registry must not lead to.
package auth
