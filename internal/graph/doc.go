// Package graph is everything that belongs to one digest: an index's children,
// their configurations and layers, and what is attached to any of them, as far
// as it goes. A repository is walked once a run; every graph in it shares what
// was read.
package graph
