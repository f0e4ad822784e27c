package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxReferrerPages bounds how far a list of referrers is followed.
const maxReferrerPages = 200

// ErrNoReferrersAPI says that the registry has no referrers API, so that a
// fallback tag stands in for it (distribution-spec, "Unavailable Referrers API").
var ErrNoReferrersAPI = errors.New("the registry has no referrers API")

// Bounds on what is kept of the lists: a short one of nothings would be large.
const (
	maxReferrers     = 20_000
	maxReferrerBytes = 8 << 20
)

// Referrers lists through the API what names a digest as its subject, following
// every page. The list is the registry's word; each manifest's own subject is
// for the caller to check.
func (r *Repository) Referrers(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error) {
	var all []v1.Descriptor
	size := 0
	next := r.path("referrers/" + subject.String())
	for page := range maxReferrerPages {
		p, err := r.referrersPage(ctx, subject, next)
		if page == 0 && lacksReferrers(err) { // a list that has begun is not absent
			return nil, ErrNoReferrersAPI
		}
		if err != nil {
			return nil, err
		}
		if all, size = append(all, p.list...), size+p.size; len(all) > maxReferrers || size > maxReferrerBytes {
			break
		}
		if next = p.next; next == nil {
			return all, nil
		}
	}
	return nil, r.fail(listReferrers, subject.String(), fmt.Errorf("%w: more than %d pages, %d referrers or %d MiB",
		ErrTooLarge, maxReferrerPages, maxReferrers, maxReferrerBytes>>20))
}

// lacksReferrers tells what a registry answers that has no such API. The
// specification knows 404; older registries refuse the unknown path otherwise,
// and on some hosts something else lives there, such as a web site.
func lacksReferrers(err error) bool {
	var refused *Error
	if errors.As(err, &refused) {
		switch refused.Status {
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusBadRequest:
			return true
		}
	}
	return errors.Is(err, errNoList)
}

const listReferrers = "list referrers"

var errNoList = errors.New("the answer is no list of referrers")

// referrersPage is one answer's part of a list.
type referrersPage struct {
	list referrerList
	size int      // of the answer, in bytes
	next *url.URL // nil: the last page
}

func (r *Repository) referrersPage(ctx context.Context, subject v1.Hash, at *url.URL) (p referrersPage, err error) {
	c := r.call(http.MethodGet, "")
	c.url = at
	c.header = http.Header{"Accept": {string(types.OCIImageIndex)}}
	c.limit = MaxManifest
	c.check = func(a *answer) (err error) {
		p.list, err = readReferrers(a)
		return err
	}
	a, err := r.session.send(ctx, c)
	if err != nil {
		return p, r.fail(listReferrers, subject.String(), err)
	}
	if a.status != http.StatusOK {
		return p, r.refuse(listReferrers, subject.String(), a)
	}
	p.size = len(a.body)
	if p.next, err = nextPage(a); err != nil {
		return p, r.fail(listReferrers, subject.String(), err)
	}
	return p, nil
}

func readReferrers(a *answer) (referrerList, error) {
	var index struct {
		Manifests referrerList `json:"manifests"`
	}
	err := json.Unmarshal(a.body, &index)
	switch {
	case err == nil:
		return index.Manifests, nil
	case errors.Is(err, ErrTooLarge):
		return nil, err
	case !strings.HasPrefix(a.header.Get("Content-Type"), string(types.OCIImageIndex)):
		return nil, errNoList
	default:
		return nil, fmt.Errorf("read list: %w", err)
	}
}

// referrerList is read one by one, so that it is not held before it is counted.
type referrerList []v1.Descriptor

// UnmarshalJSON reads a list of at most maxReferrers.
func (l *referrerList) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	in := json.NewDecoder(bytes.NewReader(raw))
	if start, err := in.Token(); err != nil || start != json.Delim('[') {
		return errors.New("no list of manifests")
	}
	for in.More() {
		if len(*l) == maxReferrers {
			return fmt.Errorf("%w: more than %d referrers", ErrTooLarge, maxReferrers)
		}
		var d v1.Descriptor
		if err := in.Decode(&d); err != nil {
			return err
		}
		*l = append(*l, d)
	}
	return nil
}

var (
	link     = regexp.MustCompile(`<([^<>]*)>((?:[^",]|"[^"]*")*)`)
	linkNext = regexp.MustCompile(`(?i);\s*rel\s*=\s*(?:next\b|"(?:[^"]*\s)?next(?:\s[^"]*)?")`)
)

// nextPage is where the Link header points to, nil if this is the last page.
// It must stay on the host: the token goes with it (RFC 8288).
func nextPage(a *answer) (*url.URL, error) {
	for _, m := range link.FindAllStringSubmatch(strings.Join(a.header.Values("Link"), ", "), -1) {
		if !linkNext.MatchString(m[2]) {
			continue
		}
		next, err := elsewhere(a.url, m[1])
		if err != nil {
			return nil, err
		}
		if !sameHost(a.url, next) {
			return nil, refusal("the next page of the list is on another host: not followed")
		}
		return next, nil
	}
	return nil, nil
}
