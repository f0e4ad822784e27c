// Package regtest gives real registries in the process, for tests and for the demo.
//
// A registry is olareg, or any other registry's handler, behind layers that make it behave like one in the
// world: an account with a password, a token service with scopes, tags that cannot be moved, a network with a
// delay and a limit, a certificate, and faults where a test wants them. It keeps a log of every request.
//
// An image is made from a seed, always with the same bytes. Push brings it to a registry with net/http alone.
// Read walks everything that hangs on a reference, hashes every manifest and blob again, and shares no code with
// the product: what it says about a copy is a second opinion. Diff compares two such walks.
//
// The package does not import testing, and no other package of this module.
package regtest
