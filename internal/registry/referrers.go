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
	"slices"
	"strings"
	"sync"

	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
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
//
// Before a repository is first said to have no API it is asked twice: one wrong
// answer would leave everything behind that is listed. Then it is not asked again.
func (r *Repository) Referrers(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error) {
	all, _, err := r.ReadableReferrers(ctx, subject)
	return all, err
}

// ReadableReferrers is [Repository.Referrers], and names the entries that cannot be read:
// they are left out, as one tool's digest algorithm must not hide the rest of a list.
func (r *Repository) ReadableReferrers(ctx context.Context, subject v1.Hash) (all []v1.Descriptor, odd []string, err error) {
	p, err := r.firstPage(ctx, subject)
	if err != nil {
		return nil, nil, err
	}
	all, odd = p.list.known, p.list.odd
	size := p.size
	for pages := 1; len(all) <= maxReferrers && size <= maxReferrerBytes; pages++ {
		if p.next == nil {
			return all, odd, nil
		}
		if pages == maxReferrerPages {
			break
		}
		if p, err = r.referrersPage(ctx, subject, p.next); err != nil { // a list that has begun is not absent
			return nil, nil, err
		}
		all, odd, size = append(all, p.list.known...), append(odd, p.list.odd...), size+p.size
	}
	return nil, nil, r.fail(listReferrers, subject.String(), fmt.Errorf("%w: more than %d pages, %d referrers or %d MiB",
		ErrTooLarge, maxReferrerPages, maxReferrers, maxReferrerBytes>>20))
}

// firstPage tells a registry that has no API from one that has.
func (r *Repository) firstPage(ctx context.Context, subject v1.Hash) (referrersPage, error) {
	l := r.session.referrersOf(r)
	if l.api() == unsupported {
		return referrersPage{}, ErrNoReferrersAPI
	}
	p, err := r.referrersPage(ctx, subject, nil)
	if lacksReferrers(err) {
		p, err = r.askAgain(ctx, subject, l)
	}
	if err == nil {
		l.learn(supported)
	}
	return p, err
}

// askAgain does, where the API was said to be absent: once, or, where it answered
// before, a few times.
func (r *Repository) askAgain(ctx context.Context, subject v1.Hash, l *referrersSupport) (p referrersPage, err error) {
	if l.turn.Take(ctx) != nil {
		return p, r.fail(listReferrers, subject.String(), retry.Interrupted(ctx))
	}
	defer l.turn.Give()
	times := 1
	if has := l.api(); has == unsupported { // somebody else has asked again
		return p, ErrNoReferrersAPI
	} else if has == supported {
		times = retry.MaxRefused - 1
	}
	for range times {
		if p, err = r.referrersPage(ctx, subject, nil); !lacksReferrers(err) {
			return p, err
		}
	}
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != string(transport.NameUnknownErrorCode) && !refused.missing {
		l.learn(unsupported) // of a repository that is yet to be made, nothing is known
	}
	return p, ErrNoReferrersAPI
}

// referrersSupport is what is known of a repository's lists of referrers.
type referrersSupport struct {
	turn   queue.Turn // held while it is found out
	mu     sync.Mutex
	known  capability
	writes map[v1.Hash]*writing // by subject
}

// writing is what this session writes to one subject's list.
type writing struct {
	count int
	over  chan struct{}
}

// write notes that a referrer of the subject is being written, until the function that it
// returns is called.
func (l *referrersSupport) write(subject v1.Hash) (written func()) {
	if subject.Hex == "" {
		return func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writes == nil {
		l.writes = map[v1.Hash]*writing{}
	}
	w := l.writes[subject]
	if w == nil {
		w = &writing{over: make(chan struct{})}
		l.writes[subject] = w
	}
	w.count++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if w.count--; w.count == 0 {
			close(w.over)
			delete(l.writes, subject)
		}
	}
}

// AwaitReferrers waits until the referrers of a subject that this run is writing now are
// written. A registry that reads a list, changes it and writes it without a lock (olareg
// 0.1.2) takes away with the last of them what it listed meanwhile: a list that is read
// before that does not tell.
func (r *Repository) AwaitReferrers(ctx context.Context, subject v1.Hash) error {
	l := r.session.referrersOf(r)
	l.mu.Lock()
	w := l.writes[subject]
	l.mu.Unlock()
	if w == nil {
		return nil
	}
	select {
	case <-w.over:
		return nil
	case <-ctx.Done():
		return retry.Interrupted(ctx)
	}
}

// subjectOf is what a manifest names as its subject; zero if it names none.
func subjectOf(m Manifest) v1.Hash {
	var named struct {
		Subject *struct {
			Digest v1.Hash `json:"digest"`
		} `json:"subject"`
	}
	if !bytes.Contains(m.Raw, []byte(`"subject"`)) || json.Unmarshal(m.Raw, &named) != nil || named.Subject == nil {
		return v1.Hash{}
	}
	return named.Subject.Digest
}

func (s *session) referrersOf(r *Repository) *referrersSupport {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.referrers[r.name.RepositoryStr()]
	if l == nil {
		l = &referrersSupport{turn: queue.NewTurn()}
		s.referrers[r.name.RepositoryStr()] = l
	}
	return l
}

func (l *referrersSupport) api() capability {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known
}

// learn keeps that there is an API against any later doubt.
func (l *referrersSupport) learn(has capability) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if has == supported || l.known == untried {
		l.known = has
	}
}

// lacksReferrers tells what a registry answers that has no such API. The
// specification knows 404; older registries refuse the unknown path otherwise,
// and on some hosts something else lives there, such as a web site.
func lacksReferrers(err error) bool {
	var refused *Error
	if errors.As(err, &refused) {
		if refused.missing {
			return true
		}
		switch refused.Status {
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusBadRequest:
			return true
		}
	}
	return errors.Is(err, errNoList)
}

const listReferrers = "list referrers"

// noList is of an answer that is no list of referrers. It is not asked for again.
type noList struct{}

func (noList) Error() string { return "the answer is no list of referrers" }
func (noList) Final()        {}

var errNoList error = noList{}

var acceptIndex = http.Header{"Accept": {string(types.OCIImageIndex)}}

// referrersPage is one answer's part of a list.
type referrersPage struct {
	list referrerList
	size int      // of the answer, in bytes
	next *url.URL // nil: the last page
}

func (r *Repository) referrersPage(ctx context.Context, subject v1.Hash, at *url.URL) (p referrersPage, err error) {
	c := r.call(http.MethodGet, "referrers/"+subject.String())
	c.url = at
	c.header = acceptIndex
	c.limit = MaxManifest
	var odd []string
	c.check = func(a *wire.Answer) (err error) {
		if p.list, err = readReferrers(a); err != nil || len(p.list.odd) == 0 || slices.Equal(p.list.odd, odd) {
			return err
		}
		odd = p.list.odd // no digest protects the list: what is read twice was not damaged on its way
		return retry.AfterDamage(fmt.Errorf("read list: an entry cannot be read: %q", odd))
	}
	a, err := r.session.send(ctx, c)
	if err != nil {
		return p, r.fail(listReferrers, subject.String(), err)
	}
	if a.Status != http.StatusOK {
		return p, r.refuseRead(ctx, listReferrers, subject.String(), a)
	}
	p.size = len(a.Body)
	if p.next, err = nextPage(a); err != nil {
		return p, r.fail(listReferrers, subject.String(), err)
	}
	return p, nil
}

// readReferrers reads one page. A list without its member, or with an entry that
// names nothing, was damaged on its way.
func readReferrers(a *wire.Answer) (list referrerList, err error) {
	found, err := jsonField(a.Body, "manifests", &list)
	switch {
	case errors.Is(err, ErrTooLarge):
		return referrerList{}, err
	case found && err == nil:
		return list, nil
	case !strings.HasPrefix(a.Header.Get("Content-Type"), string(types.OCIImageIndex)):
		return referrerList{}, errNoList
	case err == nil:
		err = errors.New("it has no member manifests")
	}
	return referrerList{}, retry.AfterDamage(fmt.Errorf("read list: %w", err))
}

// referrerList is read one by one, so that it is not held before it is counted.
type referrerList struct {
	known []v1.Descriptor
	odd   []string // what the entries name that cannot be read
}

// UnmarshalJSON reads a list of at most maxReferrers.
func (l *referrerList) UnmarshalJSON(raw []byte) error {
	var err error
	l.odd, err = EachReadable(raw, func(_ json.RawMessage, d v1.Descriptor) error {
		if len(l.known) == maxReferrers {
			return fmt.Errorf("%w: more than %d referrers", ErrTooLarge, maxReferrers)
		}
		l.known = append(l.known, d)
		return nil
	})
	return err
}

// link and linkNext read the header (RFC 8288 §3). They are put together when
// the first list comes in pages: most runs see none.
var (
	link     = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`<([^<>]*)>((?:[^",]|"[^"]*")*)`) })
	linkNext = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i);\s*rel\s*=\s*(?:next\b|"(?:[^"]*\s)?next(?:\s[^"]*)?")`)
	})
)

// nextPage is where the Link header points to, nil if this is the last page.
// It must stay on the host: the token goes with it (RFC 8288).
func nextPage(a *wire.Answer) (*url.URL, error) {
	links := a.Header.Values("Link")
	if len(links) == 0 {
		return nil, nil
	}
	for _, m := range link().FindAllStringSubmatch(strings.Join(links, ", "), -1) {
		if !linkNext().MatchString(m[2]) {
			continue
		}
		next, err := wire.ResolveLocation(a.URL, m[1])
		if err != nil {
			return nil, err
		}
		if !wire.SameHost(a.URL, next) {
			return nil, wire.Refusal("the next page of the list is on another host: not followed")
		}
		return next, nil
	}
	return nil, nil
}
