// Package auth finds out how a registry authenticates requests, and gets tokens: one challenge
// for each host and credential, and one token for up to 30 repositories.
//
// The ping, the token exchange and the parsing of tokens are go-containerregistry's. This
// package adds every form of challenge that RFC 9110 allows, retries, and a rule: a credential
// goes only to the registry's own host and to its token service, if that address is allowed.
package auth
