// Package transfer brings a graph from one repository to another by digest,
// verifies it there, and moves tags. A tag moves only against a [Proof], which
// only verification makes.
package transfer
