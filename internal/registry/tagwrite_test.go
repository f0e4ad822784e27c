package registry

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func twoManifests() (first, second Manifest) {
	return NewManifest(string(types.OCIImageIndex), []byte(emptyIndex)), NewManifest(string(types.OCIImageIndex), []byte(emptyIndex+"\n"))
}

func TestReadTag_PastTheCache(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Wrap: regtest.FailOnce(request(getDev), http.StatusServiceUnavailable)})
	r := target(t, reg, "acme/app")
	before := time.Now()
	absent, err := r.ReadTag(t.Context(), "other")
	if err != nil || absent.Exists || absent.Clock.IsZero() || absent.Began.Before(before) {
		t.Errorf("a tag that does not exist: %+v, error %v", absent, err)
	}
	want := tagged(t, reg, regtest.Access{}, "acme/app", "dev")
	for range 2 { // the first is answered with 503, and retried
		got, err := r.ReadTag(t.Context(), "dev")
		if err != nil || !got.Exists || got.Manifest.Digest != want.Digest || got.Clock.IsZero() {
			t.Fatalf("got %+v, error %v", got, err)
		}
	}
	wantRequests(t, reg, getDev, 3)
}

// A registry that states no time has no clock.
func TestReadTag_WithoutDate(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Date"] = nil
			next.ServeHTTP(w, r)
		})
	}})
	tagged(t, reg, regtest.Access{}, "acme/app", "dev")
	if got, err := target(t, reg, "acme/app").ReadTag(t.Context(), "dev"); err != nil || !got.Clock.IsZero() {
		t.Errorf("clock %v, error %v", got.Clock, err)
	}
}

// A write to a tag is not repeated: the caller may have been overtaken since.
func TestWriteTag_Once(t *testing.T) {
	t.Parallel()
	first, second := twoManifests()
	for name, test := range map[string]struct {
		wrap    func(http.Handler) http.Handler
		written bool
	}{
		"503":                      {regtest.FailOnce(request(putTag), http.StatusServiceUnavailable), false},
		"404 of a lagging replica": {strikes(1, putTag, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusNotFound) }), false},
		"no answer, not written":   {regtest.ResetBefore(request(putTag)), false},
		"no answer, written":       {regtest.ResetAfter(request(putTag)), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Wrap: test.wrap})
			r := target(t, reg, "acme/app")
			err := r.WriteTag(t.Context(), "v1", first, time.Now().Add(time.Hour))
			if err == nil || IsRefusal(err) {
				t.Errorf("error %v, want one that leaves open what became of the write", err)
			}
			wantRequests(t, reg, putTag, 1)
			now, err := r.ReadTag(t.Context(), "v1")
			if err != nil || now.Exists != test.written {
				t.Errorf("written %t, error %v", now.Exists, err)
			}
			if err := r.WriteTag(t.Context(), "v1", second, time.Now().Add(time.Hour)); err != nil {
				t.Error(err)
			}
			if now, err = r.ReadTag(t.Context(), "v1"); err != nil || now.Manifest.Digest != second.Digest {
				t.Errorf("the tag points to %s, error %v", now.Manifest.Digest, err)
			}
		})
	}
}

func TestWriteTag_Outdated(t *testing.T) {
	t.Parallel()
	first, _ := twoManifests()
	reg := regtest.Serve(t, regtest.Options{})
	err := target(t, reg, "acme/app").WriteTag(t.Context(), "v1", first, time.Now().Add(-time.Second))
	if !errors.Is(err, ErrOutdated) || IsRefusal(err) {
		t.Errorf("error %v, want ErrOutdated", err)
	}
	wantRequests(t, reg, putTag, 0)
}

func TestWriteTag_Immutable(t *testing.T) {
	t.Parallel()
	first, second := twoManifests()
	reg := regtest.Serve(t, regtest.Options{Immutable: func(string, string) bool { return true }})
	r := target(t, reg, "acme/app")
	for _, test := range []struct {
		m    Manifest
		want error
	}{{first, nil}, {first, nil}, {second, ErrTagImmutable}} {
		if err := r.WriteTag(t.Context(), "v1", test.m, time.Now().Add(time.Hour)); !errors.Is(err, test.want) {
			t.Errorf("error %v, want %v", err, test.want)
		}
	}
}

// An immutable tag is known by every vendor's refusal, also by that of a damaged manifest.
func TestWriteTag_ImmutableOfVendors(t *testing.T) {
	t.Parallel()
	first, second := twoManifests()
	for _, how := range []regtest.Immutability{
		regtest.ECRImmutable, regtest.HarborImmutable, regtest.ACRImmutable, regtest.NexusImmutable, regtest.ArtifactoryImmutable, regtest.ArtifactoryImmutable400, regtest.HubImmutable,
	} {
		t.Run(how.Words, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{regtest.ImmutableTags(how, func(string, string) bool { return true })}})
			r := target(t, reg, "acme/app")
			for _, test := range []struct {
				m    Manifest
				want error
			}{{first, nil}, {first, nil}, {second, ErrTagImmutable}} {
				if err := r.WriteTag(t.Context(), "v1", test.m, time.Now().Add(time.Hour)); !errors.Is(err, test.want) {
					t.Errorf("error %v, want %v", err, test.want)
				}
			}
		})
	}
}

// A tag that was assumed missing, because the registry refused to read it, is not overwritten.
func TestWriteTag_HiddenTag(t *testing.T) {
	t.Parallel()
	hide := true
	reg := regtest.Serve(t, regtest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.UserAgent() != regtest.Agent && r.Method == http.MethodGet && hide && r.URL.Path != "/v2/" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		})
	}})
	want := tagged(t, reg, regtest.Access{}, "acme/app", "dev")
	r := target(t, reg, "acme/app").AllowMissing()
	if got, err := r.ReadTag(t.Context(), "dev"); err != nil || got.Exists {
		t.Fatalf("exists %v, error %v", got.Exists, err)
	}
	hide = false
	first, _ := twoManifests()
	if err := r.WriteTag(t.Context(), "dev", first, time.Now().Add(time.Hour)); err == nil {
		t.Error("it was written")
	}
	if got, err := r.ReadTag(t.Context(), "dev"); err != nil || got.Manifest.Digest != want.Digest {
		t.Errorf("the tag points to %v, error %v", got.Manifest.Digest, err)
	}
}

// What this run reads later is what it wrote, not what the cache has.
func TestWriteTag_ForgetsTheCache(t *testing.T) {
	t.Parallel()
	first, second := twoManifests()
	reg := regtest.Serve(t, regtest.Options{})
	r := target(t, reg, "acme/app")
	var got v1.Hash
	for _, m := range []Manifest{first, second} {
		if err := r.WriteTag(t.Context(), "v1", m, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		now, err := r.GetManifest(t.Context(), "v1")
		if err != nil {
			t.Fatal(err)
		}
		got = now.Digest
	}
	if got != second.Digest {
		t.Errorf("read %s, want %s", got, second.Digest)
	}
}

// A manifest that names a blob which the registry lacks is told apart from one that it never takes.
func TestWriteTag_MissingContent(t *testing.T) {
	t.Parallel()
	r := target(t, regtest.Serve(t, regtest.Options{}), "acme/app")
	m := NewManifest(string(types.OCIManifestSchema1), []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`))
	if err := r.WriteTag(t.Context(), "dev", m, time.Now().Add(time.Minute)); !IsMissingContent(err) {
		t.Errorf("error %v", err)
	}
	if IsMissingContent(errors.New("no answer")) {
		t.Error("an error without an answer is taken for missing content")
	}
}
