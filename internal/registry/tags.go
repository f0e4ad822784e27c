package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// TagPage is how many tags are asked for at once.
const TagPage = 1000

const maxTagList = 1 << 20

// Bounds on how far a list of tags is followed.
const (
	maxTagPages = 100
	maxTags     = 100_000
)

// FirstTags lists the repository's tags, as far as one request gives them. It
// reports whether that is all of them. A repository that does not exist yet has
// none, and a registry that has no such list leaves that open.
func (r *Repository) FirstTags(ctx context.Context) (tags []string, all bool, err error) {
	p, err := r.tagsPage(ctx, "", nil)
	return p.tags, p.all, err
}

// Tags lists the repository's tags page by page: as many as they are, or as are
// followed, which it reports as FirstTags does. Of an error it returns what came
// before it.
func (r *Repository) Tags(ctx context.Context) (tags []string, all bool, err error) {
	p, err := r.tagsPage(ctx, "", nil)
	for pages := 1; err == nil; pages++ {
		tags = append(tags, p.tags...)
		if p.all || len(p.tags) == 0 || pages == maxTagPages || len(tags) >= maxTags {
			break
		}
		var next tagsPage
		next, err = r.tagsPage(ctx, p.tags[len(p.tags)-1], p.next)
		if slices.Equal(next.tags, p.tags) {
			break // it does not go on, whatever it is asked
		}
		p = next
	}
	return tags[:min(len(tags), maxTags)], err == nil && p.all, err
}

// tagsPage is one answer's part of a list.
type tagsPage struct {
	tags []string
	next *url.URL // as the registry says; nil: it does not
	all  bool     // nothing comes after it
}

// tagsPage asks for the page after a tag, or for the one that the registry named
// (distribution-spec, "Listing Tags").
func (r *Repository) tagsPage(ctx context.Context, last string, at *url.URL) (p tagsPage, err error) {
	c := r.call(http.MethodGet, "tags/list")
	c.query, c.url = "n="+strconv.Itoa(TagPage), at
	if last != "" {
		c.query += "&last=" + last
	}
	c.limit = maxTagList
	c.check = func(a *answer) (err error) {
		p.tags, err = readTags(a.body)
		return err
	}
	a, err := r.session.send(ctx, c)
	if err != nil {
		return tagsPage{}, r.fail(listTags, "", err)
	}
	switch a.status {
	case http.StatusOK: // and the list was read
	case http.StatusNotFound: // of the repository, or of the list
		code, _ := diagnose(a)
		return tagsPage{all: code == string(transport.NameUnknownErrorCode)}, nil
	default:
		return tagsPage{}, r.refuse(listTags, "", a)
	}
	if p.next, err = nextPage(a); err != nil {
		return p, r.fail(listTags, "", err)
	}
	// A registry that pages may leave out Link on a page it cut itself.
	p.all = a.header.Get("Link") == "" && len(p.tags) < TagPage
	return p, nil
}

const listTags = "list tags"

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
