package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// TagPage is the size of a page of tags to request first.
const TagPage = 1000

// smallTagPage is the size of a page after TagPage was refused: the limit of distribution is
// 1000, other registries have 500 or 100 and answer 400 to more (distribution#4844, go-containerregistry#681).
const smallTagPage = 100

// Limits of a list of tags: its pages, its tags, the bytes of an answer to read, and those to
// keep. GCR and GAR send an object for each manifest beside the tags.
const (
	maxTagPages  = 100
	maxTags      = 100_000
	maxTagAnswer = 32 << 20
	maxTagList   = 4 << 20
)

// listTimePart divides the retry time for a list that the caller can do without: 15 s of a
// minute. Some registries read a folder for each tag, which takes minutes, until a proxy
// answers 504.
const listTimePart = 4

var errSlowList = errors.New("listing the tags took too long")

// FirstTags lists the first page of the repository's tags, and fails after some seconds: it is
// for callers that can do without the list. It reports whether the list is complete. A
// repository that does not exist has a complete list without tags (see [Repository.Exists]);
// a registry without lists of tags has an incomplete one.
func (r *Repository) FirstTags(ctx context.Context) (tags []string, all bool, err error) {
	short, cancel := context.WithTimeoutCause(ctx, r.session.host.RetryFor/listTimePart, errSlowList)
	defer cancel()
	p, err := r.tagsPage(short, "", nil)
	return p.tags, p.all, err
}

// Exists reports whether the repository exists, and whether that is known: a registry may have
// no lists of tags, or give the same answer for a repository that does not exist.
func (r *Repository) Exists(ctx context.Context) (exists, known bool, err error) {
	p, err := r.tagsPage(ctx, "", nil)
	return !p.absent, err == nil && (p.absent || p.listed), err
}

// Tags lists the repository's tags page by page, up to a limit. It reports whether the list is
// complete. With an error it returns the tags of the pages before it.
func (r *Repository) Tags(ctx context.Context) (tags []string, all bool, err error) {
	p, err := r.tagsPage(ctx, "", nil)
	for pages := 1; err == nil; pages++ {
		tags = append(tags, p.tags...)
		if p.all || len(p.tags) == 0 || pages == maxTagPages || len(tags) >= maxTags {
			break
		}
		var next tagsPage
		next, err = r.tagsPage(ctx, p.tags[len(p.tags)-1], p.next)
		if slices.Equal(next.tags, p.tags) || p.next == nil && lacksPaging(err) {
			return tags[:min(len(tags), maxTags)], false, nil // the registry does not support paging with last
		}
		p = next
	}
	return tags[:min(len(tags), maxTags)], err == nil && p.all, err
}

// lacksPaging reports whether a registry refuses the parameter last. The first page was full
// and had no Link, so there may be no second one.
func lacksPaging(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && (errors.Is(err, ErrUnsupported) || refused.Status == http.StatusBadRequest)
}

// tagsPage is one page of a list.
type tagsPage struct {
	tags   []string
	next   *url.URL // of its Link; nil: none
	all    bool     // it is the last page
	listed bool     // the registry answered with a list
	absent bool     // the repository does not exist
}

// tagsPage reads the page after a tag, or the page of a Link (distribution-spec, "Listing
// Tags"). If the registry refuses the size of a page, it requests a smaller one, and then one
// of the registry's default size.
func (r *Repository) tagsPage(ctx context.Context, last string, at *url.URL) (p tagsPage, err error) {
	for {
		size := r.session.supports.tagPage()
		p, err = r.tagsPageOf(ctx, size, last, at)
		var refused *Error
		if at != nil || !errors.As(err, &refused) || refused.Status != http.StatusBadRequest || size == 0 {
			return p, err
		}
		r.session.supports.refusedTagPage(size)
	}
}

func (r *Repository) tagsPageOf(ctx context.Context, size int, last string, at *url.URL) (p tagsPage, err error) {
	c := r.call(http.MethodGet, "tags/list")
	c.query, c.url = tagsQuery(size, last), at
	c.limit, c.extract = maxTagAnswer, extractTags
	c.check = func(a *wire.Answer) (err error) {
		p.tags, err = readTags(a.Body)
		return err
	}
	a, err := r.session.send(ctx, c)
	if err != nil {
		return tagsPage{}, r.fail(listTags, "", err)
	}
	switch a.Status {
	case http.StatusOK: // check has read the list
	case http.StatusNotFound: // the registry has no repository, or no lists of tags
		code, _ := a.Diagnosis()
		absent := code == string(transport.NameUnknownErrorCode)
		return tagsPage{all: absent, absent: absent}, nil
	default:
		return tagsPage{}, r.refuse(listTags, "", a)
	}
	p.listed = true
	if p.next, err = nextPage(a); err != nil {
		return p, r.fail(listTags, "", err)
	}
	// A registry may leave out Link on a page that is shorter than requested.
	p.all = a.Header.Get("Link") == "" && len(p.tags) < cmp.Or(size, smallTagPage)
	return p, nil
}

func tagsQuery(size int, last string) string {
	query := url.Values{}
	if size > 0 {
		query.Set("n", strconv.Itoa(size))
	}
	if last != "" {
		query.Set("last", last)
	}
	return query.Encode()
}

const listTags = "list tags"

// readTags reads a list of tags. A list without the field tags, or with an invalid tag, was
// damaged in transit.
func readTags(body []byte) (tags []string, err error) {
	found, err := jsonField(body, "tags", &tags)
	if err == nil && !found {
		err = errors.New("it has no field tags")
	}
	for _, tag := range tags {
		if err == nil && !isTag(tag) {
			err = fmt.Errorf("%q is not a valid tag", wire.Cut(tag, 140))
		}
	}
	if err != nil {
		return nil, retry.AfterDamage(fmt.Errorf("read tag list: %w", err))
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
