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

// TagPage is how many tags are asked for at once, where the registry lets it be so many.
const TagPage = 1000

// smallTagPage is asked for where more is refused: distribution's own limit is 1000,
// others have 500 or 100 and answer 400 to more (distribution#1186).
const smallTagPage = 100

// Bounds on how far a list of tags is followed, and on what is read of one answer and
// kept of it: some registries send a member for each manifest beside the tags (GCR, GAR).
const (
	maxTagPages  = 100
	maxTags      = 100_000
	maxTagAnswer = 32 << 20
	maxTagList   = 4 << 20
)

// listTimePart is the part of the retry time that a list gets which is a help and no
// need: 15 s. Some registries walk through every tag's folder for it, for minutes, and
// a proxy before them answers 504 in the end.
const listTimePart = 4

var errSlowList = errors.New("the list of tags took too long")

// FirstTags lists the repository's tags, as far as one request gives them, and gives up
// after some seconds: it is for who can do without. It reports whether that is all of
// them. A repository that does not exist yet has none (see [Repository.Exists]), and a
// registry that has no such list leaves that open.
func (r *Repository) FirstTags(ctx context.Context) (tags []string, all bool, err error) {
	short, cancel := context.WithTimeoutCause(ctx, r.session.host.RetryFor/listTimePart, errSlowList)
	defer cancel()
	p, err := r.tagsPage(short, "", nil)
	return p.tags, p.all, err
}

// Exists reports whether the repository exists, and whether that is known: a registry
// may have no list of tags, or say the same of what it has never heard of.
func (r *Repository) Exists(ctx context.Context) (exists, known bool, err error) {
	p, err := r.tagsPage(ctx, "", nil)
	return !p.absent, err == nil && (p.absent || p.listed), err
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
		if slices.Equal(next.tags, p.tags) || p.next == nil && cannotGoOn(err) {
			return tags[:min(len(tags), maxTags)], false, nil // it does not go on, whatever it is asked
		}
		p = next
	}
	return tags[:min(len(tags), maxTags)], err == nil && p.all, err
}

// cannotGoOn tells a registry that takes no `last` from one that refuses to go on: it
// sent a full page and named no next one, so nobody said that there is more.
func cannotGoOn(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && (errors.Is(err, ErrUnsupported) || refused.Status == http.StatusBadRequest)
}

// tagsPage is one answer's part of a list.
type tagsPage struct {
	tags   []string
	next   *url.URL // as the registry says; nil: it does not
	all    bool     // nothing comes after it
	listed bool     // it is a list, rather than an answer that there is none
	absent bool     // the registry knows no such repository
}

// tagsPage asks for the page after a tag, or for the one that the registry named
// (distribution-spec, "Listing Tags"). A page that is refused is asked for in a smaller
// size, then in whatever size the registry has.
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
	case http.StatusOK: // and the list was read
	case http.StatusNotFound: // of the repository, or of the list
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
	// A registry that pages may leave out Link on a page it cut itself.
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

// readTags reads a list of tags. One without its member, or with what cannot be a
// tag, was damaged on its way.
func readTags(body []byte) (tags []string, err error) {
	found, err := jsonField(body, "tags", &tags)
	if err == nil && !found {
		err = errors.New("it has no member tags")
	}
	for _, tag := range tags {
		if err == nil && !isTag(tag) {
			err = fmt.Errorf("%q is no tag", wire.Cut(tag, 140))
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
