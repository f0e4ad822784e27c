package regtest_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

const (
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociEmpty    = "application/vnd.oci.empty.v1+json"
	manifests   = ociIndex + ", " + ociManifest + ", application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"
)

// site is a registry with traits, and an image in acme/app:v1 that the test put there.
type site struct {
	*testing.T
	r     *regtest.Registry
	image *regtest.Image
	url   string
}

func with(t *testing.T, traits ...regtest.Trait) site {
	t.Helper()
	return withOptions(t, regtest.Options{Referrers: true, Delete: true, Traits: traits})
}

func withOptions(t *testing.T, o regtest.Options) site {
	t.Helper()
	r := regtest.Serve(t, o)
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm64"}})
	push(t, i, r.Access("ann", "secret"), "acme/app", "v1")
	return site{t, r, i, "http://" + r.Host() + "/v2/acme/app"}
}

func (s site) get(path string) (*http.Response, string) {
	s.Helper()
	return ask(s.T, "GET", s.url+path, map[string]string{"Accept": manifests, "Accept-Encoding": "identity"}, "")
}

func (s site) put(reference, mediaType string, body any) (*http.Response, string) {
	s.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.Fatal(err)
	}
	return ask(s.T, "PUT", s.url+"/manifests/"+reference, map[string]string{"Content-Type": mediaType}, string(text))
}

// blob uploads a text, past the traits for clients.
func (s site) blob(text string) map[string]any {
	s.Helper()
	digest, err := regtest.PutBlob(s.Context(), s.r.Access("ann", "secret"), "acme/app", []byte(text))
	if err != nil {
		s.Fatal(err)
	}
	return map[string]any{"mediaType": "application/vnd.example", "digest": digest, "size": len(text)}
}

// empty is an image manifest with an empty config and a layer.
func (s site) empty(more map[string]any) map[string]any {
	s.Helper()
	config := s.blob("{}")
	config["mediaType"] = ociEmpty
	m := map[string]any{"schemaVersion": 2, "mediaType": ociManifest, "config": config, "layers": []any{s.blob("layer")}}
	for name, value := range more {
		m[name] = value
	}
	return m
}

func (s site) subject(digest string) map[string]any {
	m := s.image.Manifest(digest)
	return map[string]any{"mediaType": m.MediaType, "digest": m.Digest, "size": len(m.Bytes)}
}

// want checks an answer's status and texts of its body.
func (s site) want(what string, answer *http.Response, text string, status int, parts ...string) {
	s.Helper()
	if answer.StatusCode != status {
		s.Errorf("%s: status %d, want %d: %s", what, answer.StatusCode, status, text)
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			s.Errorf("%s: %q has no %q", what, text, part)
		}
	}
}

func (s site) wantPut(what string, body any, mediaType string, status int, parts ...string) {
	s.Helper()
	answer, text := s.put("made", mediaType, body)
	s.want(what, answer, text, status, parts...)
}

func TestUnknownMediaTypes(t *testing.T) {
	s := with(t, regtest.UnknownMediaTypes())
	s.wantPut("artifact type", s.empty(map[string]any{"artifactType": "application/vnd.example.record"}), ociManifest, 400,
		`"code":"MANIFEST_INVALID"`, `"detail":"unknown media type: application/vnd.example.record"`)
	m := s.empty(nil)
	m["config"].(map[string]any)["mediaType"] = "application/vnd.example.config"
	s.wantPut("config", m, ociManifest, 400, "unknown media type: application/vnd.example.config")
	// What was seen to be taken.
	s.wantPut("no artifact type", s.empty(nil), ociManifest, 201)
	s.wantPut("in-toto", s.empty(map[string]any{"artifactType": "application/vnd.in-toto+json"}), ociManifest, 201)
	s.wantPut("index", map[string]any{
		"schemaVersion": 2, "mediaType": ociIndex, "artifactType": "application/vnd.example.list", "manifests": []any{s.subject(s.image.Children()[0])},
	}, ociIndex, 201)
}

func TestEmptyIndexFails(t *testing.T) {
	s := with(t, regtest.EmptyIndexFails())
	index := map[string]any{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []any{}}
	s.wantPut("empty", index, ociIndex, 500)
	index["manifests"] = []any{s.subject(s.image.Children()[0])}
	s.wantPut("one", index, ociIndex, 201)
}

func TestImagesOnlyInIndex(t *testing.T) {
	s := with(t, regtest.ImagesOnlyInIndex())
	of := func(digest string) map[string]any {
		return map[string]any{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []any{s.subject(digest)}}
	}
	s.wantPut("index of an index", of(s.image.Root), ociIndex, 400, "MANIFEST_INVALID")
	s.wantPut("index of an image", of(s.image.Children()[0]), ociIndex, 201)
	missing := map[string]any{"mediaType": ociManifest, "digest": "sha256:" + strings.Repeat("1a", 32), "size": 7}
	s.wantPut("index of what is not there", map[string]any{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []any{missing}}, ociIndex, 404, "MANIFEST_BLOB_UNKNOWN")
}

func TestSubjectsOnlyImages(t *testing.T) {
	s := with(t, regtest.SubjectsOnlyImages())
	s.wantPut("of an index", s.empty(map[string]any{"subject": s.subject(s.image.Root)}), ociManifest, 400, "MANIFEST_BLOB_UNKNOWN")
	s.wantPut("of an image", s.empty(map[string]any{"subject": s.subject(s.image.Children()[0])}), ociManifest, 201)
}

func TestSubjectFirst(t *testing.T) {
	s := with(t, regtest.SubjectFirst())
	missing := map[string]any{"mediaType": ociManifest, "digest": "sha256:" + strings.Repeat("1a", 32), "size": 7}
	s.wantPut("missing", s.empty(map[string]any{"subject": missing}), ociManifest, 400, "MANIFEST_UNKNOWN")
	s.wantPut("there", s.empty(map[string]any{"subject": s.subject(s.image.Root)}), ociManifest, 201)
}

func TestSubjectRefused(t *testing.T) {
	for _, status := range []int{404, 405, 415} {
		s := with(t, regtest.SubjectRefused(status))
		s.wantPut("subject", s.empty(map[string]any{"subject": s.subject(s.image.Root)}), ociManifest, status, `"errors"`)
		s.wantPut("none", s.empty(nil), ociManifest, 201)
	}
}

func TestManifestLimit(t *testing.T) {
	s := with(t, regtest.ManifestLimit(2000))
	s.wantPut("large", s.empty(map[string]any{"annotations": map[string]string{"a": strings.Repeat("a", 2000)}}), ociManifest, 400, "MANIFEST_INVALID", "request body too large")
	s.wantPut("small", s.empty(nil), ociManifest, 201)
}

func TestLayerLimit(t *testing.T) {
	s := with(t, regtest.LayerLimit(2))
	layer := s.blob("layer")
	s.wantPut("three", s.empty(map[string]any{"layers": []any{layer, layer, layer}}), ociManifest, 405)
	s.wantPut("two", s.empty(map[string]any{"layers": []any{layer, layer}}), ociManifest, 201)
}

func TestHistoryMustFit(t *testing.T) {
	s := with(t, regtest.HistoryMustFit())
	for config, status := range map[string]int{
		`{"history":[{},{}]}`: 400, `{"history":[{},{"empty_layer":true}]}`: 201, `{}`: 201, `{"history":[{"empty_layer":true}]}`: 400,
	} {
		c := s.blob(config)
		c["mediaType"] = "application/vnd.oci.image.config.v1+json"
		s.wantPut(config, s.empty(map[string]any{"config": c}), ociManifest, status)
	}
	c := s.blob(`{"history":[{},{}]}`)
	c["mediaType"] = ociEmpty
	s.wantPut("no image", s.empty(map[string]any{"config": c}), ociManifest, 201)
}

func TestSeveralErrors(t *testing.T) {
	for _, detail := range []any{"unknown blob sha256:1", map[string]string{"digest": "sha256:1"}} {
		s := with(t, regtest.SeveralErrors(detail))
		layer := s.blob("layer")
		layer["urls"] = []string{"https://example.test/layer"}
		answer, text := s.put("made", ociManifest, s.empty(map[string]any{"layers": []any{layer}}))
		var body struct {
			Errors []struct {
				Code   string
				Detail any
			}
		}
		s.want("foreign layer", answer, text, 500)
		if err := json.Unmarshal([]byte(text), &body); err != nil || len(body.Errors) != 2 || body.Errors[0].Code != "UNKNOWN" || body.Errors[1].Code != "MANIFEST_BLOB_UNKNOWN" || body.Errors[1].Detail == nil {
			t.Errorf("%s: %v", text, err)
		}
		s.wantPut("no foreign layer", s.empty(nil), ociManifest, 201)
	}
}

func TestDigestTagIsImage(t *testing.T) {
	for _, status := range []int{201, 400} {
		s := with(t, regtest.DigestTagIsImage(status))
		tag := "sha256-" + strings.TrimPrefix(s.image.Root, "sha256:")
		answer, text := s.get("/manifests/" + tag)
		s.want("read", answer, text, 200)
		if text != string(s.image.Manifest(s.image.Root).Bytes) {
			t.Errorf("the tag holds %s", text)
		}
		answer, text = s.put(tag, ociManifest, s.empty(nil))
		s.want("write", answer, text, status)
		if _, again := s.get("/manifests/" + tag); again != string(s.image.Manifest(s.image.Root).Bytes) {
			t.Errorf("the tag was written: %s", again)
		}
		answer, text = s.put(tag+".sig", ociManifest, s.empty(nil))
		s.want("a signature's tag", answer, text, 201)
	}
}

func TestLowerCaseTags(t *testing.T) {
	s := with(t, regtest.LowerCaseTags())
	answer, text := s.put("Release-X", ociManifest, s.empty(nil))
	s.want("write", answer, text, 201)
	for _, tag := range []string{"Release-X", "release-x", "RELEASE-x"} {
		answer, text := s.get("/manifests/" + tag)
		s.want(tag, answer, text, 200)
	}
	if tags, err := regtest.Tags(t.Context(), s.r.Access("", ""), "acme/app"); err != nil || !slices.Contains(tags, "release-x") {
		t.Errorf("tags %v, %v", tags, err)
	}
}

func TestManifestsLag(t *testing.T) {
	s := with(t, regtest.ManifestsLag(2))
	statuses := []int{}
	for _, tag := range []string{"a", "b", "b", "c"} {
		answer, _ := s.put(tag, ociManifest, s.empty(nil))
		statuses = append(statuses, answer.StatusCode)
	}
	if !slices.Equal(statuses, []int{201, 404, 201, 201}) {
		t.Errorf("statuses %v", statuses)
	}
}

func TestOverwrittenIsGone(t *testing.T) {
	s := with(t, regtest.OverwrittenIsGone())
	answer, text := s.put("v1", ociManifest, s.empty(nil))
	s.want("overwrite", answer, text, 201)
	answer, text = s.get("/manifests/" + s.image.Root)
	s.want("what it held", answer, text, 404, "MANIFEST_UNKNOWN")
	answer, text = s.get("/manifests/" + s.image.Children()[0])
	s.want("its child", answer, text, 200)
	push(t, s.image, s.r.Access("", ""), "acme/app", "v1", "v2")
	answer, text = s.put("v1", ociManifest, s.empty(nil))
	s.want("overwrite", answer, text, 201)
	answer, text = s.get("/manifests/" + s.image.Root)
	s.want("what v2 names too", answer, text, 200)
}

func TestOverwrittenIsGoneButByDigest(t *testing.T) {
	s := with(t, regtest.OverwrittenIsGoneButByDigest())
	write := func(name string, manifest map[string]any) string {
		answer, text := s.put(name, ociManifest, manifest)
		s.want("write "+name, answer, text, 201)
		return answer.Header.Get("Docker-Content-Digest")
	}
	note := func(value string) map[string]any {
		return s.empty(map[string]any{"annotations": map[string]string{"note": value}})
	}
	one := write("v1", note("one"))
	write("v1", note("two"))
	answer, text := s.get("/manifests/" + one)
	s.want("what was written by tag", answer, text, 404, "MANIFEST_UNKNOWN")
	write("v1", note("one"))
	write(one, note("one"))
	write("v1", note("two"))
	answer, text = s.get("/manifests/" + one)
	s.want("what was written by digest too", answer, text, 200)
}

func TestRacyReferrers(t *testing.T) {
	s := with(t, regtest.RacyReferrers(1))
	referrer := s.empty(map[string]any{"subject": s.subject(s.image.Root), "artifactType": "application/vnd.example"})
	for n, listed := range []bool{false, true} {
		answer, text := s.put("made", ociManifest, referrer)
		s.want("write", answer, text, 201)
		if answer.Header.Get("OCI-Subject") == "" {
			t.Error("no OCI-Subject")
		}
		if _, list := s.get("/referrers/" + s.image.Root); strings.Contains(list, "vnd.example") != listed {
			t.Errorf("after %d writes: %s", n+1, list)
		}
	}
}

func TestOddReferrers(t *testing.T) {
	s := with(t, regtest.OddReferrers(`{"mediaType":"`+ociManifest+`","digest":"blake3:1234","size":7}`, `{"digest":"what"}`))
	_, list := s.get("/referrers/" + s.image.Root)
	s.wantPut("write", s.empty(map[string]any{"subject": s.subject(s.image.Root)}), ociManifest, 201)
	_, full := s.get("/referrers/" + s.image.Root)
	for _, text := range []string{list, full} {
		if !strings.Contains(text, "blake3:1234") || !strings.Contains(text, `"what"`) {
			t.Error(text)
		}
	}
	if len(full) <= len(list) {
		t.Error("the true entry is missing")
	}
}

func TestTagsLate(t *testing.T) {
	s := with(t, regtest.TagsLate(time.Hour))
	for tag, status := range map[string]int{"v1": 200, "new": 404} {
		answer, text := s.put(tag, ociManifest, s.empty(nil))
		s.want("write "+tag, answer, text, 201)
		answer, text = s.get("/manifests/" + tag)
		s.want("read "+tag, answer, text, status)
		if tag == "v1" && text != string(s.image.Manifest(s.image.Root).Bytes) {
			t.Errorf("v1 is new already: %s", text)
		}
	}
	s = with(t, regtest.TagsLate(0))
	if answer, text := s.put("new", ociManifest, s.empty(nil)); answer.StatusCode != 201 {
		t.Error(text)
	}
	answer, text := s.get("/manifests/new")
	s.want("after the time", answer, text, 200)
}

func TestImmutableInEachVendorsWords(t *testing.T) {
	for _, how := range []regtest.Immutability{
		regtest.ECRImmutable, regtest.HarborImmutable, regtest.ACRImmutable, regtest.NexusImmutable,
		regtest.ArtifactoryImmutable, regtest.ArtifactoryImmutable400, regtest.HubImmutable,
	} {
		s := with(t, regtest.ImmutableTags(how, func(_, tag string) bool { return tag == "v1" || tag == "v2" }))
		s.wantPut("another tag", s.empty(nil), ociManifest, 201)
		s.wantPut("another tag again", s.empty(nil), ociManifest, 201)
		answer, text := s.put("v2", ociManifest, s.empty(nil))
		s.want("new tag", answer, text, 201)
		for _, m := range []map[string]any{s.empty(nil), s.empty(map[string]any{"annotations": map[string]string{"a": "b"}})} {
			answer, text := s.put("v2", ociManifest, m)
			s.want(how.Words, answer, text, how.Status, how.Code)
		}
		if how.Detail != nil && !strings.Contains(how.Words, "MANIFEST_INVALID") {
			answer, text := s.put("v1", ociManifest, s.empty(nil))
			s.want(how.Words, answer, text, how.Status, "cannot be updated")
		}
	}
}

func TestTagLists(t *testing.T) {
	long(t)
	s := with(t, regtest.PageLimit(500))
	for query, status := range map[string]int{"?n=1000": 400, "?n=500": 200, "": 200} {
		answer, text := s.get("/tags/list" + query)
		s.want("n"+query, answer, text, status)
	}

	s = with(t, regtest.ListWithManifests(3<<20))
	answer, text := s.get("/tags/list?n=1")
	s.want("with manifests", answer, text, 200, `"manifest":{`, s.image.Root, `"tags":["v1"]`)
	if len(text) < 3<<20 {
		t.Errorf("%d bytes", len(text))
	}

	s = with(t, regtest.FullPageWithoutLink(1))
	push(t, s.image, s.r.Access("", ""), "acme/app", "v2")
	answer, text = s.get("/tags/list?n=1")
	s.want("full page", answer, text, 200, `["v1"]`)
	if answer.Header.Get("Link") != "" {
		t.Error("there is a Link")
	}
	answer, text = s.get("/tags/list?n=1&last=v1")
	s.want("what is after it", answer, text, 405)

	s = with(t, regtest.TagsNull())
	answer, text = ask(t, "GET", "http://"+s.r.Host()+"/v2/acme/none/tags/list", nil, "")
	s.want("no tags", answer, text, 200, `"tags":null`)
	answer, text = s.get("/tags/list")
	s.want("a tag", answer, text, 200, `["v1"]`)

	s = with(t, regtest.ListTimesOut(2))
	for _, status := range []int{504, 504, 200} {
		answer, text = s.get("/tags/list")
		s.want("in time", answer, text, status)
	}
}

func TestForbiddenIfMissing(t *testing.T) {
	s := with(t, regtest.ForbiddenIfMissing())
	for path, status := range map[string]int{"/acme/none/manifests/v1": 403, "/acme/none/tags/list": 403, "/acme/app/manifests/v1": 200, "/acme/app/manifests/v2": 404} {
		answer, text := ask(t, "GET", "http://"+s.r.Host()+"/v2"+path, map[string]string{"Accept": manifests}, "")
		s.want(path, answer, text, status)
	}
}

func TestMissingRepository(t *testing.T) {
	s := with(t, regtest.MissingRepository(func(repository string) bool { return repository == "acme/app" }))
	for repository, status := range map[string]int{"acme/none": 404, "acme/app": 202} {
		answer, text := ask(t, "POST", "http://"+s.r.Host()+"/v2/"+repository+"/blobs/uploads/", nil, "")
		s.want(repository, answer, text, status)
		if status == 404 {
			s.want(repository, answer, text, 404, "NAME_UNKNOWN", "acme/none")
		}
	}
}

func TestPolicyViolation(t *testing.T) {
	is := func(_, reference string) bool { return reference == "v1" }
	s := with(t, regtest.PolicyViolation(is, -1))
	for range 3 {
		answer, text := s.get("/manifests/v1")
		s.want("for ever", answer, text, 412, "PROJECTPOLICYVIOLATION")
	}
	answer, text := s.get("/manifests/" + s.image.Root)
	s.want("another", answer, text, 200)
	s = with(t, regtest.PolicyViolation(is, 1))
	for _, status := range []int{412, 200} {
		answer, text := s.get("/manifests/v1")
		s.want("until it is scanned", answer, text, status)
	}
}

// upload begins an upload and returns where it goes on.
func (s site) upload() string {
	s.Helper()
	answer, text := ask(s.T, "POST", s.url+"/blobs/uploads/", nil, "")
	s.want("begin an upload", answer, text, 202)
	at, err := answer.Location()
	if err != nil {
		s.Fatal(err)
	}
	return at.String()
}

func (s site) finish(at, body string, header map[string]string) (*http.Response, string) {
	s.Helper()
	return ask(s.T, "PUT", complete(at, body), header, body)
}

// complete is where an upload of a body ends.
func complete(at, body string) string {
	if strings.Contains(at, "?") {
		return at + "&digest=" + digestOf(body)
	}
	return at + "?digest=" + digestOf(body)
}

func TestBodyLimit(t *testing.T) {
	s := with(t, regtest.BodyLimit(1000, true))
	answer, text := s.finish(s.upload(), strings.Repeat("a", 1001), nil)
	s.want("large", answer, text, 413, "<html>", "413 Request Entity Too Large")
	answer, text = s.finish(s.upload(), strings.Repeat("a", 1000), nil)
	s.want("small", answer, text, 201)

	s = with(t, regtest.BodyLimit(1000, false))
	q, err := http.NewRequestWithContext(t.Context(), "PUT", complete(s.upload(), "x"), io.MultiReader(strings.NewReader(strings.Repeat("a", 100_000))))
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := http.DefaultClient.Do(q); err == nil {
		_ = answer.Body.Close()
		t.Errorf("status %d in place of a lost connection", answer.StatusCode)
	}
}

func TestHeaderLimit(t *testing.T) {
	for _, status := range []int{400, 431} {
		s := withOptions(t, regtest.Options{Auth: oneUser(), Traits: []regtest.Trait{regtest.HeaderLimit(8<<10, status)}})
		for count, want := range map[int]int{100: status, 30: 200} {
			scopes := []string{"repository:acme/app:pull"}
			for n := range count - 1 {
				scopes = append(scopes, fmt.Sprintf("repository:acme/app%d:pull", n))
			}
			token := getToken(t, s.r, "ann", scopes...)
			header := withToken(token.Token)
			header["Accept"] = manifests
			answer, text := ask(t, "GET", s.url+"/manifests/v1", header, "")
			s.want(strconv.Itoa(count)+" repositories", answer, text, want)
		}
	}
}

func TestThrottled(t *testing.T) {
	for retry, check := range map[regtest.Retry]func(after, text string) bool{
		regtest.RetrySeconds: func(after, _ string) bool { return after == "1" },
		regtest.RetryDate:    func(after, _ string) bool { _, err := http.ParseTime(after); return err == nil },
		regtest.RetryEpoch: func(after, _ string) bool {
			n, err := strconv.ParseInt(after, 10, 64)
			return err == nil && time.Until(time.Unix(n, 0)).Abs() < time.Hour
		},
		regtest.RetryMicroseconds: func(after, text string) bool { return after == "" && strings.Contains(text, "804.236µs") },
		regtest.RetryHours:        func(after, _ string) bool { n, err := strconv.Atoi(after); return err == nil && n > 3600 },
	} {
		s := with(t, regtest.Throttled(2, retry))
		answer, text := s.get("/manifests/v1")
		s.want(string(retry), answer, text, 200)
		answer, text = s.get("/manifests/v1")
		s.want(string(retry), answer, text, 429, "TOOMANYREQUESTS")
		if !check(answer.Header.Get("Retry-After"), text) {
			t.Errorf("%s: %q, %s", retry, answer.Header.Get("Retry-After"), text)
		}
	}
}

func TestChunkMinimum(t *testing.T) {
	s := with(t, regtest.ChunkMinimum(100))
	answer, text := ask(t, "POST", s.url+"/blobs/uploads/", nil, "")
	s.want("begin", answer, text, 202)
	if answer.Header.Get("OCI-Chunk-Min-Length") != "100" {
		t.Errorf("header %v", answer.Header)
	}
	chunk := func(at string, from, size int) (*http.Response, string) {
		return ask(t, "PATCH", at, map[string]string{"Content-Type": "application/octet-stream", "Content-Range": fmt.Sprintf("%d-%d", from, from+size-1)}, strings.Repeat("a", size))
	}
	next := func(answer *http.Response) string {
		at, err := answer.Location()
		if err != nil {
			t.Fatal(err)
		}
		return at.String()
	}
	answer, text = chunk(next(answer), 0, 50)
	s.want("a small chunk that may be the last", answer, text, 202)
	answer, text = chunk(next(answer), 50, 100)
	s.want("one after it", answer, text, 400, "BLOB_UPLOAD_INVALID")
	answer, text = chunk(s.upload(), 0, 100)
	s.want("large", answer, text, 202)
	answer, text = chunk(next(answer), 100, 100)
	s.want("large again", answer, text, 202)
}

func TestMonolithicLimit(t *testing.T) {
	s := with(t, regtest.MonolithicLimit(1000))
	body := strings.Repeat("a", 1001)
	answer, text := s.finish(s.upload(), body, nil)
	s.want("in one piece", answer, text, 400)
	answer, text = ask(t, "PATCH", s.upload(), map[string]string{"Content-Type": "application/octet-stream", "Content-Range": "0-1000"}, body)
	s.want("as a chunk", answer, text, 202)
}

func (s site) child() string { return s.image.Children()[0] }

// layer is the digest of a blob of the image.
func (s site) layer() *regtest.Blob { return s.image.Blobs[len(s.image.Blobs)-1] }

func (s site) head(path string) *http.Response {
	s.Helper()
	q, err := http.NewRequestWithContext(s.Context(), "HEAD", s.url+path, http.NoBody)
	if err != nil {
		s.Fatal(err)
	}
	answer, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		s.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer
}

func TestHeadBlob(t *testing.T) {
	for _, status := range []int{405, 403, 400} {
		s := with(t, regtest.HeadBlob(status))
		for _, digest := range []string{s.layer().Digest, "sha256:" + strings.Repeat("1a", 32)} {
			if got := s.head("/blobs/" + digest).StatusCode; got != status {
				t.Errorf("status %d, want %d", got, status)
			}
		}
		answer, _ := s.get("/blobs/" + s.layer().Digest)
		s.want("GET", answer, "", 200)
	}
}

func TestHeadBlobRedirected(t *testing.T) {
	s := withOptions(t, regtest.Options{Auth: oneUser(), Traits: []regtest.Trait{regtest.HeadBlobRedirected()}})
	q, err := http.NewRequestWithContext(t.Context(), "HEAD", s.url+"/blobs/"+s.layer().Digest, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+getToken(t, s.r, "ann", "repository:acme/app:pull").Token)
	answer, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	at, err := answer.Location()
	if err != nil || answer.StatusCode != 307 {
		t.Fatal(answer.StatusCode, err)
	}
	head, _ := ask(t, "HEAD", at.String(), nil, "")
	s.want("HEAD there", head, "", 403)
	got, text := ask(t, "GET", at.String(), nil, "")
	s.want("GET there, without a token", got, "", 200)
	if digestOf(text) != s.layer().Digest {
		t.Error("another blob")
	}
}

func TestGoneBlobs(t *testing.T) {
	for _, lax := range []bool{false, true} {
		gone := ""
		s := with(t, regtest.GoneBlobs(func(_, digest string) bool { return digest == gone }, lax))
		m := s.empty(nil)
		gone = m["layers"].([]any)[0].(map[string]any)["digest"].(string)
		if got := s.head("/blobs/" + gone).StatusCode; got != 200 {
			t.Errorf("HEAD: %d", got)
		}
		answer, text := s.get("/blobs/" + gone)
		s.want("GET", answer, text, 404, "BLOB_UNKNOWN")
		answer, text = ask(t, "POST", s.url+"/blobs/uploads/?mount="+gone+"&from=acme/app", nil, "")
		s.want("mount", answer, text, 202)
		if lax {
			s.wantPut("lax", m, ociManifest, 201)
			continue
		}
		s.wantPut("strict", m, ociManifest, 400, "MANIFEST_BLOB_UNKNOWN", gone)
		answer, text = s.finish(s.upload(), "layer", nil)
		s.want("upload", answer, text, 201)
		s.wantPut("after an upload", m, ociManifest, 201)
	}
}

func TestBlobsCollected(t *testing.T) {
	s := with(t, regtest.BlobsCollected(0))
	m := s.empty(nil) // the test's own uploads are never collected
	answer, text := s.finish(s.upload(), "other", nil)
	s.want("upload", answer, text, 201)
	if got := s.head("/blobs/" + digestOf("other")).StatusCode; got != 404 {
		t.Errorf("HEAD: %d", got)
	}
	other := map[string]any{"mediaType": "application/vnd.example", "digest": digestOf("other"), "size": 5}
	s.wantPut("its manifest", s.empty(map[string]any{"layers": []any{other}}), ociManifest, 400, "MANIFEST_BLOB_UNKNOWN")
	s.wantPut("another manifest", m, ociManifest, 201)

	s = with(t, regtest.BlobsCollected(time.Hour))
	answer, text = s.finish(s.upload(), "other", nil)
	s.want("upload", answer, text, 201)
	s.wantPut("in time", s.empty(map[string]any{"layers": []any{other}}), ociManifest, 201)
}

func TestOneAtATime(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		s := withOptions(t, regtest.Options{Memory: m, Traits: []regtest.Trait{regtest.OneAtATime()}})
		transport := m.Transport()
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		status := func(method, address string, body io.Reader) <-chan int {
			q, err := http.NewRequestWithContext(t.Context(), method, address, body)
			if err != nil {
				t.Fatal(err)
			}
			got := make(chan int, 1)
			go func() {
				defer close(got)
				if answer, err := client.Do(q); err == nil {
					_ = answer.Body.Close()
					got <- answer.StatusCode
				}
			}()
			return got
		}
		begun, _ := askBy(t, client, "POST", s.url+"/blobs/uploads/", nil, "")
		at, err := begun.Location()
		if err != nil {
			t.Fatal(err)
		}
		body, write := io.Pipe()
		put := status("PUT", complete(at.String(), strings.Repeat("a", 128<<10)), body)
		half := []byte(strings.Repeat("a", 64<<10)) // more than the client keeps back
		if _, err := write.Write(half); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		get := status("GET", s.url+"/blobs/"+s.layer().Digest, http.NoBody)
		synctest.Wait()
		select {
		case got := <-get:
			t.Errorf("a blob is read during an upload: %d", got)
		default:
		}
		_, _ = write.Write(half)
		_ = write.Close()
		if a, b := <-put, <-get; a != 201 || b != 200 {
			t.Errorf("statuses %d, %d", a, b)
		}
	})
}

func TestLocations(t *testing.T) {
	_, port, _ := strings.Cut(with(t).r.Host(), ":")
	for name, test := range map[string]struct {
		trait regtest.Trait
		want  func(at, host string) bool
	}{
		"http":    {regtest.PlainLocation(), func(at, host string) bool { return strings.HasPrefix(at, "http://"+host+"/") }},
		"no port": {regtest.LocationWithoutPort(), func(at, _ string) bool { return strings.HasPrefix(at, "http://127.0.0.1/") }},
		"closed":  {regtest.LocationAt("127.0.0.1:" + port), func(at, _ string) bool { return strings.HasPrefix(at, "http://127.0.0.1:"+port+"/") }},
	} {
		s := with(t, test.trait)
		if at := s.upload(); !test.want(at, s.r.Host()) || !strings.Contains(at, "/blobs/uploads/") {
			t.Errorf("%s: %s", name, at)
		}
	}
}

func TestOddLocationQuery(t *testing.T) {
	s := with(t, regtest.OddLocationQuery())
	at := s.upload()
	if !strings.Contains(at, "a%20b;c=%2F") {
		t.Fatal(at)
	}
	answer, text := s.finish(strings.Replace(at, "%20", "+", 1), "blob", nil)
	s.want("changed", answer, text, 400, "BLOB_UPLOAD_INVALID")
	answer, text = s.finish(at, "blob", nil)
	s.want("as it was", answer, text, 201)
}

func TestMissingRightIs401(t *testing.T) {
	for _, trait := range [][]regtest.Trait{{regtest.MissingRightIs401()}, {}} {
		for _, isBasic := range []bool{false, true} {
			auth := oneUser()
			auth.Basic = isBasic
			s := withOptions(t, regtest.Options{Auth: auth, Traits: trait})
			header := basic("bob", "secret")
			if !isBasic {
				header = withToken(getToken(t, s.r, "bob", "repository:acme/app:pull,push").Token)
			}
			answer, text := ask(t, "POST", s.url+"/blobs/uploads/", header, "")
			status := map[int]int{0: 403, 1: 401}[len(trait)]
			s.want("bob may not push", answer, text, status)
			if status == 401 && answer.Header.Get("WWW-Authenticate") == "" {
				t.Error("no challenge")
			}
		}
	}
}

func TestChallengeForms(t *testing.T) {
	for form, want := range map[regtest.Challenge][]string{
		regtest.BasicThenBearer:   {`^Basic realm="registry.test"$`, `^Bearer realm="http`},
		regtest.BothInOneHeader:   {`^Basic realm="registry.test", Bearer realm="http`},
		regtest.BlanksRoundEquals: {`^Bearer realm = "http://[^"]*" , service = "registry.test" , scope = `},
		regtest.NegotiateFirst:    {`^Negotiate$`, `^Bearer realm="http`},
	} {
		s := withOptions(t, regtest.Options{Auth: oneUser(), Traits: []regtest.Trait{regtest.ChallengeForm(form)}})
		answer, text := s.get("/manifests/v1")
		s.want(string(form), answer, text, 401)
		got := answer.Header.Values("WWW-Authenticate")
		if len(got) != len(want) {
			t.Fatalf("%s: %q", form, got)
		}
		for n := range want {
			if !matches(want[n], got[n]) {
				t.Errorf("%s: %q, want %s", form, got[n], want[n])
			}
		}
		header := basic("ann", "secret")
		header["Accept"] = manifests
		answer, text = ask(t, "GET", s.url+"/manifests/v1", header, "")
		status := 401
		if strings.HasPrefix(want[0], "^Basic") {
			status = 200
		}
		s.want("with Basic, "+string(form), answer, text, status)
	}
}

func TestTokenAnswers(t *testing.T) {
	for form, want := range map[regtest.TokenAnswer]string{
		regtest.OnlyAccessToken:   `^\{"access_token":"[^"]+"\}$`,
		regtest.ExpiresAsText:     `"expires_in":"300"`,
		regtest.ExpiresAsFraction: `"expires_in":299.9`,
		regtest.OddIssuedAt:       `"issued_at":"2026-11-22 14:30:00 \+0000 UTC m=`,
	} {
		s := withOptions(t, regtest.Options{Auth: oneUser(), Traits: []regtest.Trait{regtest.TokenAnswers(form)}})
		answer, text := ask(t, "GET", "http://"+s.r.Host()+"/token?scope=repository:acme/app:pull", basic("ann", "secret"), "")
		s.want(string(form), answer, text, 200)
		if !matches(want, text) {
			t.Errorf("%s: %s", form, text)
		}
	}
}

func TestLoginPage(t *testing.T) {
	s := with(t, regtest.LoginPage(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/v1") }))
	answer, text := s.get("/manifests/v1")
	s.want("page", answer, text, 200, "<html>", "Sign in")
	if got := answer.Header.Get("Content-Type"); got != "text/html" {
		t.Error(got)
	}
	answer, text = s.get("/tags/list")
	s.want("list", answer, text, 200, `"tags"`)
}

func TestZippedAnswers(t *testing.T) {
	s := with(t, regtest.ZippedAnswers())
	answer, text := s.get("/manifests/v1")
	if answer.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("header %v", answer.Header)
	}
	z, err := gzip.NewReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := io.ReadAll(z); err != nil || !bytes.Equal(plain, s.image.Manifest(s.image.Root).Bytes) {
		t.Errorf("%s, %v", plain, err)
	}
	if answer, _ := s.get("/blobs/" + s.layer().Digest); answer.Header.Get("Content-Encoding") != "" {
		t.Error("a blob is zipped")
	}
}

func TestUntypedChildren(t *testing.T) {
	s := with(t, regtest.UntypedChildren("text/plain"))
	m := s.empty(nil)
	delete(m, "mediaType")
	answer, text := s.put("made", ociManifest, m)
	s.want("write", answer, text, 201)
	untyped := answer.Header.Get("Docker-Content-Digest")
	for reference, mediaType := range map[string]string{untyped: "text/plain", s.child(): ociManifest, "made": ociManifest} {
		answer, _ := s.get("/manifests/" + reference)
		if got := answer.Header.Get("Content-Type"); got != mediaType {
			t.Errorf("%s is %q, want %q", reference, got, mediaType)
		}
	}
}

// Attachments that a vendor refuses are missing, and so is what hangs on them; an image that it refuses is none.
func TestOffer(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{regtest.UnknownMediaTypes(), regtest.ImagesOnlyInIndex()}})
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64"}})
	good := i.Attach(i.Root, "application/vnd.in-toto+json", "good")
	bad := i.Attach(i.Root, "application/vnd.example", "bad")
	i.Attach(bad, "application/vnd.in-toto+json", "on bad")
	if err := i.Push(t.Context(), r.Access("", ""), "acme/app", "v1"); err == nil {
		t.Error("Push passes")
	}
	if err := i.Offer(t.Context(), r.Access("", ""), "acme/app", "v1"); err != nil {
		t.Fatal(err)
	}
	tree := read(t, r.Access("", ""), "acme/app", "v1")
	if got := tree.Referrers(i.Root); !slices.Equal(got, []string{good}) {
		t.Errorf("referrers %v", got)
	}
	nested := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64"}, Nested: true})
	if err := nested.Offer(t.Context(), r.Access("", ""), "acme/app", "v2"); !errors.Is(err, regtest.ErrUnfit) {
		t.Errorf("error %v", err)
	}
}

// The test's own requests pass by what is only for clients.
func TestTraitsAreForClients(t *testing.T) {
	s := with(t, regtest.ForbiddenIfMissing(), regtest.Throttled(1, regtest.RetryHours))
	if _, exists, err := regtest.TagDigest(t.Context(), s.r.Access("", ""), "acme/none", "v1"); exists || err != nil {
		t.Error(exists, err)
	}
}

func TestVendors(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range regtest.Vendors {
		if seen[v.Name] || v.Title == "" || len(v.Traits) == 0 {
			t.Errorf("vendor %+v", v)
		}
		seen[v.Name] = true
		for _, trait := range v.Traits {
			if trait.Name == "" || trait.Does == "" || trait.Source == "" {
				t.Errorf("%s: trait %+v", v.Name, trait)
			}
		}
		if found, ok := regtest.FindVendor(v.Name); !ok || found.Title != v.Title {
			t.Error(found)
		}
		r := regtest.Serve(t, regtest.Options{Traits: v.Traits})
		push(t, regtest.Build(regtest.Spec{}), r.Access("", ""), "acme/app", "v1")
		if got := read(t, r.Access("", ""), "acme/app", "v1").HasAPI; got != v.Has("referrers API") {
			t.Errorf("%s: referrers API %v", v.Name, got)
		}
	}
	if _, ok := regtest.FindVendor("none"); ok {
		t.Error("a vendor called none")
	}
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func matches(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) }

// A registry takes a manifest that gives a layer the wrong size.
func TestMisstate(t *testing.T) {
	s := with(t)
	i := regtest.Build(regtest.Spec{LayerSize: 3106})
	wrong := i.Misstate(i.Root, 31)
	push(t, i, s.r.Access("", ""), "acme/app", "wrong")
	answer, text := s.get("/manifests/wrong")
	s.want("manifest", answer, text, 200, `"size":31}`)
	if i.Root != wrong || answer.Header.Get("Docker-Content-Digest") != wrong {
		t.Errorf("root %s, want %s", i.Root, wrong)
	}
	if _, err := regtest.Read(t.Context(), s.r.Access("", ""), "acme/app", "wrong"); err == nil {
		t.Error("the independent reader believes the size")
	}
}
