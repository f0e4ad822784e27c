// Package githubtest is a server that answers as GitHub's REST API does, in the
// shapes of its documentation: as much of it as this program asks for. What it
// knows is set while it runs. It is for tests only.
package githubtest
