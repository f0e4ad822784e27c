package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// TagPage is how many tags are asked for at once.
const TagPage = 1000

const maxTagList = 1 << 20

// Tags lists the repository's tags, as far as one request gives them. It
// reports whether that is all of them. A repository that does not exist yet has
// none, and a registry that has no such list leaves that open.
func (r *Repository) Tags(ctx context.Context) (tags []string, all bool, err error) {
	c := r.call(http.MethodGet, "tags/list")
	c.query = "n=" + strconv.Itoa(TagPage)
	c.limit = maxTagList
	c.check = func(a *answer) (err error) {
		tags, err = readTags(a.body)
		return err
	}
	a, err := r.session.send(ctx, c)
	if err != nil {
		return nil, false, r.fail("list tags", "", err)
	}
	switch a.status {
	case http.StatusOK: // and the list was read
	case http.StatusNotFound: // of the repository, or of the list
		code, _ := diagnose(a)
		return nil, code == string(transport.NameUnknownErrorCode), nil
	default:
		return nil, false, r.refuse("list tags", "", a)
	}
	// A registry that pages may leave out Link on a page it cut itself.
	all = a.header.Get("Link") == "" && len(tags) < TagPage
	return tags, all, nil
}

// readTags reads a list of tags. One without its member, or with what cannot be a
// tag, was damaged on its way.
func readTags(body []byte) (tags []string, err error) {
	found, err := member(body, "tags", &tags)
	if err == nil && !found {
		err = errors.New("it has no member tags")
	}
	for _, tag := range tags {
		if err == nil && !isTag(tag) {
			err = fmt.Errorf("%q is no tag", Cut(tag, 140))
		}
	}
	if err != nil {
		return nil, damaged(fmt.Errorf("read tag list: %w", err))
	}
	return tags, nil
}

// isTag follows distribution-spec, "Pulling manifests": [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}.
func isTag(s string) bool {
	for i, c := range []byte(s) {
		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
		if !word && (i == 0 || c != '.' && c != '-') {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 128
}
