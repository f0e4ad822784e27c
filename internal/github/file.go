package github

import (
	"context"
	"errors"
	"net/url"
	"strings"
)

// File is a file at a branch, a tag or a commit; a branch may be named
// refs/heads/main and a tag refs/tags/v1 too. Protected says whether the ref is
// a branch that is protected, by whatever rule, or a commit, which cannot change.
// The bytes are those of the commit that the branch had when its protection was
// read. A file is at most 1 MiB.
//
// A commit may be one of a fork: GitHub keeps them together.
//
// A job needs contents: read for it.
func (c *Client) File(ctx context.Context, repository, path, ref string) (raw []byte, protected bool, err error) {
	if err := checkRepository(repository); err != nil {
		return nil, false, err
	}
	if err := checkPath(path); err != nil {
		return nil, false, err
	}
	f := file{client: c, repository: repository, path: path, ref: ref}
	at, protected, err := f.locate(ctx)
	if err != nil {
		return nil, false, err
	}
	raw, err = f.read(ctx, at)
	return raw, protected && err == nil, err
}

type file struct {
	client     *Client
	repository string
	path       string
	ref        string // as it was asked for
}

// locate finds the ref by which the contents are asked for, one that no other can
// be taken for: a tag may have a branch's name, and anyone's tag must not pass for
// a protected branch.
func (f file) locate(ctx context.Context) (at string, protected bool, err error) {
	if err := checkRef(f.ref); err != nil {
		return "", false, err
	}
	if commit, err := fullCommit(f.ref); err == nil {
		return commit, true, nil
	}
	name, isBranch := strings.CutPrefix(f.ref, "refs/heads/")
	switch {
	case isBranch:
		return f.branch(ctx, name)
	case strings.HasPrefix(f.ref, "refs/tags/"):
		return f.ref, false, nil
	case strings.HasPrefix(f.ref, "refs/"):
		return "", false, errors.New(quote(f.ref, maxRef) + " is neither a branch nor a tag; expected refs/heads/… or refs/tags/…")
	}
	at, protected, err = f.branch(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return "refs/tags/" + name, false, nil
	}
	return at, protected, err
}

// branch is what https://docs.github.com/rest/branches/branches#get-a-branch says.
// Protected is true for rulesets too.
func (f file) branch(ctx context.Context, name string) (commit string, protected bool, err error) {
	q := f.question("/branches/"+url.PathEscape(name), nil)
	a, err := f.client.askJSON(ctx, q)
	if err != nil {
		return "", false, err
	}
	commit, protected, err = readBranch(a.body, name)
	if err != nil {
		return "", false, f.client.fail(q, err)
	}
	return commit, protected, nil
}

func readBranch(body []byte, name string) (commit string, protected bool, err error) {
	branch, err := decode[struct {
		Name      string `json:"name"`
		Protected *bool  `json:"protected"`
		Commit    struct {
			ID string `json:"sha"`
		} `json:"commit"`
	}](body)
	switch {
	case err != nil:
		return "", false, err
	case branch.Name != "" && branch.Name != name:
		return "", false, refusal("the branch is now called " + quote(branch.Name, maxRef) + ": name that")
	case branch.Name == "" || branch.Protected == nil || !commitPattern.MatchString(branch.Commit.ID):
		return "", false, misshapen("a branch has no name, commit or protected")
	}
	return branch.Commit.ID, *branch.Protected, nil
}

// read reads the file's bytes.
// https://docs.github.com/rest/repos/contents#get-repository-content
func (f file) read(ctx context.Context, at string) ([]byte, error) {
	q := f.question("/contents/"+escape(f.path), url.Values{"ref": {at}})
	q.accept, q.most = acceptRaw, maxFile
	a, err := f.client.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	if a.isKind("application/json") || a.isKind("text/html") {
		return nil, f.client.fail(q, refusal("it is no file, but a folder or a submodule"))
	}
	return a.body, nil
}

func (f file) question(path string, query url.Values) question {
	return question{
		op: "read " + plain(f.path, maxPath) + " at " + plain(f.ref, maxRef), repository: f.repository, path: path, query: query,
		permissions: []string{"contents: read"},
		absent:      "The repository, the ref or the file is not there.",
	}
}
