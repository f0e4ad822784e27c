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

// maxReferrerPages bounds the pages of a list of referrers.
const maxReferrerPages = 200

// ErrNoReferrersAPI says that the registry has no referrers API. Clients then keep a fallback
// list in a tag (distribution-spec, "Unavailable Referrers API").
var ErrNoReferrersAPI = errors.New("the registry has no referrers API")

// ErrReferrersPage is [ErrNoReferrersAPI] where a web page answers in place of the API. Some
// hosts have such pages for paths that they do not know; or a proxy answers, and hides the API.
var ErrReferrersPage = fmt.Errorf("%w: a web page answers in its place", ErrNoReferrersAPI)

// Limits of a whole list in memory: a short list of empty objects would take a lot.
const (
	maxReferrers     = 20_000
	maxReferrerBytes = 8 << 20
)

// Referrers lists all pages of the referrers of a digest through the API. The list is
// untrusted: the caller has to check the subject of each manifest.
//
// An answer that the registry has no API is confirmed by a second request, because a wrong one
// would leave all attachments uncopied. After that the API is not requested again.
func (r *Repository) Referrers(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error) {
	all, _, err := r.ReadableReferrers(ctx, subject)
	return all, err
}

// ReadableReferrers is [Repository.Referrers] without the invalid entries, which it returns by
// name: an entry with an unknown digest algorithm must not hide the rest of the list.
func (r *Repository) ReadableReferrers(ctx context.Context, subject v1.Hash) (all []v1.Descriptor, invalid []string, err error) {
	p, err := r.firstPage(ctx, subject)
	if err != nil {
		return nil, nil, err
	}
	all, invalid = p.list.known, p.list.invalid
	size := p.size
	for pages := 1; len(all) <= maxReferrers && size <= maxReferrerBytes; pages++ {
		if p.next == nil {
			return all, invalid, nil
		}
		if pages == maxReferrerPages {
			break
		}
		if p, err = r.referrersPage(ctx, subject, p.next); err != nil { // after a first page the API exists
			return nil, nil, err
		}
		all, invalid, size = append(all, p.list.known...), append(invalid, p.list.invalid...), size+p.size
	}
	return nil, nil, r.fail(listReferrers, subject.String(), fmt.Errorf("%w: more than %d pages, %d referrers or %d MiB",
		ErrTooLarge, maxReferrerPages, maxReferrers, maxReferrerBytes>>20))
}

// firstPage reads the first page, or finds out that the registry has no API.
func (r *Repository) firstPage(ctx context.Context, subject v1.Hash) (referrersPage, error) {
	l := r.session.referrersOf(r)
	if l.api() == unsupported {
		return referrersPage{}, ErrNoReferrersAPI
	}
	p, err := r.referrersPage(ctx, subject, nil)
	if lacksReferrers(err) {
		p, err = r.confirmNoAPI(ctx, subject, l)
	}
	if err == nil {
		l.learn(supported)
	}
	return p, err
}

// confirmNoAPI repeats the request after an answer that there is no API: once, or several times
// if the API has answered before.
func (r *Repository) confirmNoAPI(ctx context.Context, subject v1.Hash, l *referrersSupport) (p referrersPage, err error) {
	if l.turn.Take(ctx) != nil {
		return p, r.fail(listReferrers, subject.String(), retry.Interrupted(ctx))
	}
	defer l.turn.Give()
	times := 1
	if has := l.api(); has == unsupported { // another request has confirmed it
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
		l.learn(unsupported) // a repository that does not exist yet says nothing about the API
	}
	if errors.Is(err, wire.ErrPage) {
		return p, ErrReferrersPage
	}
	return p, ErrNoReferrersAPI
}

// referrersSupport is what a session knows about the referrers API of a repository.
type referrersSupport struct {
	turn   queue.Turn // taken during confirmNoAPI
	mu     sync.Mutex
	known  capability
	writes map[v1.Hash]*writing // by subject
}

// writing counts the referrers of one subject that this session is writing now.
type writing struct {
	count int
	done  chan struct{} // closed when the count is 0
}

// write records that a referrer of the subject is being written, until the returned function is
// called.
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
		w = &writing{done: make(chan struct{})}
		l.writes[subject] = w
	}
	w.count++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if w.count--; w.count == 0 {
			close(w.done)
			delete(l.writes, subject)
		}
	}
}

// AwaitReferrers waits until this run has written all referrers of a subject that it is writing
// now. A registry may update a list without a lock (olareg 0.1.2), and a later write then drops
// an entry that was listed before. So a list is reliable only after the last write.
func (r *Repository) AwaitReferrers(ctx context.Context, subject v1.Hash) error {
	l := r.session.referrersOf(r)
	l.mu.Lock()
	w := l.writes[subject]
	l.mu.Unlock()
	if w == nil {
		return nil
	}
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return retry.Interrupted(ctx)
	}
}

// subjectOf is the digest of a manifest's subject; zero if it has none.
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

// learn records whether there is an API. After one answer by the API, it stays supported.
func (l *referrersSupport) learn(has capability) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if has == supported || l.known == untried {
		l.known = has
	}
}

// lacksReferrers reports whether an answer means that there is no referrers API. The
// specification has 404; older registries refuse the unknown path with another status, and
// some hosts answer it with a web site.
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

// errNoList says that an answer is not a list of referrers. It is not retried.
var errNoList = noList{errors.New("the answer is not a list of referrers")}

// noList is errNoList, or the reason for it.
type noList struct{ reason error }

func (e noList) Error() string        { return e.reason.Error() }
func (e noList) Unwrap() error        { return e.reason }
func (e noList) Is(target error) bool { return target == error(errNoList) }
func (noList) Final()                 {}

var acceptIndex = http.Header{"Accept": {string(types.OCIImageIndex)}}

// referrersPage is one page of a list.
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
	var invalid []string
	c.check = func(a *wire.Answer) (err error) {
		if p.list, err = readReferrers(a); err != nil || len(p.list.invalid) == 0 || slices.Equal(p.list.invalid, invalid) {
			return err
		}
		invalid = p.list.invalid // the same entries in a second answer were not damaged in transit
		return retry.AfterDamage(fmt.Errorf("read list: it has invalid entries: %q", invalid))
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

// readReferrers reads one page. An index without the field manifests was damaged in transit.
func readReferrers(a *wire.Answer) (list referrerList, err error) {
	found, err := jsonField(a.Body, "manifests", &list)
	switch {
	case errors.Is(err, ErrTooLarge):
		return referrerList{}, err
	case found && err == nil:
		return list, nil
	case !strings.HasPrefix(a.Header.Get("Content-Type"), string(types.OCIImageIndex)):
		if a.IsPage() {
			return referrerList{}, noList{fmt.Errorf("%w: it is %s", wire.ErrPage, a.DescribePage())}
		}
		return referrerList{}, errNoList
	case err == nil:
		err = errors.New("it has no field manifests")
	}
	return referrerList{}, retry.AfterDamage(fmt.Errorf("read list: %w", err))
}

// referrerList is a list that stops being read at its limit.
type referrerList struct {
	known   []v1.Descriptor
	invalid []string // the names of the entries that cannot be read
}

// UnmarshalJSON reads a list of at most maxReferrers.
func (l *referrerList) UnmarshalJSON(raw []byte) error {
	var err error
	l.invalid, err = EachReadable(raw, func(_ json.RawMessage, d v1.Descriptor) error {
		if len(l.known) == maxReferrers {
			return fmt.Errorf("%w: more than %d referrers", ErrTooLarge, maxReferrers)
		}
		l.known = append(l.known, d)
		return nil
	})
	return err
}

// link and linkNext match the header Link (RFC 8288 §3). They are compiled on first use: most
// runs never see a second page.
var (
	link     = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`<([^<>]*)>((?:[^",]|"[^"]*")*)`) })
	linkNext = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i);\s*rel\s*=\s*(?:next\b|"(?:[^"]*\s)?next(?:\s[^"]*)?")`)
	})
)

// nextPage is the URL of the next page (RFC 8288), nil if this is the last one. It must be on
// the same host, because the request has the token.
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
			return nil, wire.Refusal("the next page of the list is on another host: not allowed")
		}
		return next, nil
	}
	return nil, nil
}
