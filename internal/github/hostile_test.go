package github

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// Nothing but what GitHub documents is taken.
func TestHostileBodies(t *testing.T) {
	deep := strings.Repeat("[", 1<<20)
	run := func(fields string) string { return `{"total_count":1,"check_runs":[{` + fields + `}]}` }
	const at = `"head_sha":"` + sha + `"`
	status := func(fields string) string { return `{"sha":"` + sha + `","statuses":[{` + fields + `}]}` }
	for name, bodies := range map[string][]string{
		"Checks": {
			`{}`, `null`, `[]`, `""`, `0`, ``, `{`, `{"total_count":0}`, `{"check_runs":[]}`, `{"total_count":0,"check_runs":null}`, `{"total_count":0,"check_runs":{}}`, `{"total_count":"0","check_runs":[]}`,
			`{"total_count":0,"check_runs":[]} {}`, run(``), run(`"id":1,"name":"e2e","status":"completed","conclusion":"success"`),
			run(`"id":1,"name":"e2e","status":"completed","conclusion":"success","head_sha":"` + older + `"`),
			run(`"id":0,"name":"e2e","status":"completed","conclusion":"success",` + at), run(`"id":-1,"name":"e2e","status":"completed",` + at),
			run(`"id":1,"name":"","status":"completed",` + at), run(`"id":1,"name":"e2e","status":"",` + at), run(`"id":1,"name":"e2e","status":null,` + at),
			run(`"id":1,"name":"e2e","status":"completed","conclusion":true,` + at), run(`"id":"1","name":"e2e","status":"completed",` + at), run(`"id":1e40,"name":"e2e","status":"completed",` + at),
			run(`"id":1,"name":["e2e"],"status":"completed",` + at), run(`"id":1,"name":"e2e","status":"completed","started_at":"yesterday",` + at),
			`{"total_count":1,"check_runs":[null]}`, deep, `{"total_count":0,"check_runs":` + deep + `}`,
			status(``), // as an answer to the check runs
		},
		"Approvals": {
			`{}`, `null`, `""`, `[null]`, `[{}]`, `[] []`, deep, `[{"state":"approved","environments":[{"name":"production"}]}]`, `[{"state":"approved","environments":[{"name":"production"}],"user":null}]`,
			`[{"state":"approved","environments":[{"name":"production"}],"user":{"login":""}}]`, `[{"state":"approved","environments":[{"name":"production"}],"user":{"login":"a b"}}]`,
			`[{"state":"approved","environments":[{"name":"production"}],"user":{"login":"` + strings.Repeat("a", 101) + `"}}]`, `[{"state":"approved","environments":[{"name":"production"}],"user":{"login":"\u001b"}}]`,
			`[{"state":"approved","environments":[],"user":{"login":"mona"}}]`, `[{"state":"approved","user":{"login":"mona"}}]`, `[{"environments":[{"name":"production"}],"user":{"login":"mona"}}]`,
			`[{"state":1,"environments":[{"name":"production"}],"user":{"login":"mona"}}]`, `[{"state":"approved","environments":{"name":"production"},"user":{"login":"mona"}}]`,
		},
		"Compare": {
			`{}`, `null`, `[]`, `{"status":"ahead"}`, `{"status":"ahead","base_commit":null}`, `{"status":"ahead","base_commit":{"sha":"` + sha + `"}}`, deep,
			`{"base_commit":{"sha":"` + older + `"}}`, `{"status":["ahead"],"base_commit":{"sha":"` + older + `"}}`, `{"status":"ahead","base_commit":{"sha":"` + older + `"}}x`,
		},
		"File": {
			`{}`, `null`, `[]`, `{"name":"main","protected":true}`, `{"name":"main","commit":{"sha":"` + sha + `"}}`, `{"protected":true,"commit":{"sha":"` + sha + `"}}`, deep,
			`{"name":"main","protected":"true","commit":{"sha":"` + sha + `"}}`, `{"name":"main","protected":true,"commit":{"sha":"../.."}}`, `{"name":"\u001bmain","protected":true,"commit":{"sha":"` + sha + `"}}`,
		},
	} {
		for _, body := range bodies {
			bubble(t, answers(200, jsonType, body), func(t *testing.T, c *Client) {
				err := ask[name](t.Context(), c)
				if err == nil {
					t.Errorf("%s takes %.200s", name, body)
					return
				}
				wantError(t, err)
			})
		}
	}
}

// Of statuses too, whatever the check runs are.
func TestHostileStatuses(t *testing.T) {
	good := `{"id":1,"context":"e2e","state":"success"}`
	if _, err := readStatuses([]byte(`{"sha":"`+sha+`","statuses":[`+good+`]}`), sha); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{
		`{}`, `null`, `[]`, `{"sha":"` + sha + `"}`, `{"statuses":[` + good + `]}`, `{"sha":"` + older + `","statuses":[` + good + `]}`,
		`{"sha":"` + sha + `","statuses":[null]}`, `{"sha":"` + sha + `","statuses":[{"context":"e2e"}]}`, `{"sha":"` + sha + `","statuses":[{"state":"success"}]}`,
		`{"sha":"` + sha + `","statuses":[{"context":"e2e","state":1}]}`, `{"sha":"` + sha + `","statuses":[{"context":"e2e","state":"success","target_url":{}}]}`,
	} {
		if list, err := readStatuses([]byte(body), sha); err == nil {
			t.Errorf("%s is %v", body, list)
		}
	}
}

// A page of a proxy's is no answer, whatever its status.
func TestNotJSON(t *testing.T) {
	for _, kind := range []string{"text/html", "text/html; charset=utf-8", "", "text/plain", "application/octet-stream", "application/json/x", "tëxt"} {
		for name, do := range ask {
			bubble(t, answers(200, kind, "<html>"), func(t *testing.T, c *Client) {
				if err := do(t.Context(), c); err == nil {
					t.Errorf("%s takes %q", name, kind)
				} else {
					wantError(t, err, "not JSON", "127.0.0.1:1")
				}
			})
		}
	}
	html := func(w http.ResponseWriter, r *http.Request) {
		answers(200, "text/html", "<html>")(w, r)
	}
	bubble(t, http.HandlerFunc(html), func(t *testing.T, c *Client) {
		if raw, _, err := c.File(t.Context(), repo, config, sha); err == nil {
			t.Errorf("the file is %q", raw)
		}
	})
}

// An answer without an end is cut off, and is not asked for again.
func TestHugeAnswers(t *testing.T) {
	asked := 0
	h := func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Content-Type", jsonType)
		chunk := []byte(strings.Repeat(" ", 1<<20))
		for range 20 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	bubble(t, http.HandlerFunc(h), func(t *testing.T, c *Client) {
		wantError(t, ask["Approvals"](t.Context(), c), "longer than 8 MiB")
	})
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

// A list whose next page always comes has an end.
func TestPagesWithoutEnd(t *testing.T) {
	asked := 0
	h := func(w http.ResponseWriter, r *http.Request) {
		asked++
		if got := r.FormValue("page"); got != fmt.Sprint(asked) || r.Host != "127.0.0.1:1" {
			t.Errorf("page %s of %s, want %d", got, r.Host, asked)
		}
		answers(200, jsonType, `[]`, "Link", `<http://evil.example/?page=7>; rel="next"`)(w, r)
	}
	bubble(t, http.HandlerFunc(h), func(t *testing.T, c *Client) {
		wantError(t, ask["Approvals"](t.Context(), c), "more than 20 pages")
	})
	if asked != 20 {
		t.Errorf("asked %d times", asked)
	}
}

func TestNextPage(t *testing.T) {
	for link, want := range map[string]bool{
		``: false, `<https://a/?page=2>; rel="next"`: true, `<https://a/?page=2>; rel=next`: true, `<https://a/?page=2>;rel="next"`: true,
		`<https://a/?page=1>; rel="prev", <https://a/?page=3>; rel="next", <https://a/?page=9>; rel="last"`: true,
		`<https://a/?page=1>; rel="prev", <https://a/?page=1>; rel="first"`:                                 false,
		`<https://a/?name=;rel="next">; rel="last"`:                                                         false,
		`<https://a/?page=2>; title="x"; rel="next"`:                                                        true,
		`rel="next"`: false,
	} {
		if got := hasNext(http.Header{"Link": {link}}); got != want {
			t.Errorf("%s: %t", link, got)
		}
	}
}

// A server or a proxy may repeat what it was sent, and say anything else.
func TestErrorsCanBeShown(t *testing.T) {
	for _, status := range []int{302, 400, 401, 403, 404, 422, 429, 501} {
		for _, message := range []string{secret, "Bearer " + secret, "\x1b[2J\u202e\x00\r\n::set-output name=x::y", strings.Repeat("ä", 100000), "`code`"} {
			h := answers(status, jsonType, fmt.Sprintf(`{"message":%q}`, strings.ToValidUTF8(message, "")), "Location", "http://"+secret+".example/"+message[:5], "X-Accepted-GitHub-Permissions", secret)
			bubbleAs(t, Options{Token: secret, Patience: 1}, h, func(t *testing.T, c *Client) {
				for _, do := range ask {
					wantError(t, do(t.Context(), c), "acme/app")
				}
			})
		}
	}
	h := answers(200, secret+"/x", secret)
	bubble(t, h, func(t *testing.T, c *Client) {
		for _, do := range ask {
			wantError(t, do(t.Context(), c), "***")
		}
	})
}

// The readers of answers take nothing that breaks what they promise.
func FuzzReaders(f *testing.F) {
	for _, seed := range []string{
		`{"total_count":1,"check_runs":[{"id":1,"name":"e2e","head_sha":"` + sha + `","status":"completed","conclusion":"success","html_url":"https://github.com/a","started_at":"2018-05-04T01:14:52Z"}]}`,
		`{"sha":"` + sha + `","statuses":[{"id":1,"context":"e2e","state":"success","target_url":"https://a.example/","updated_at":"2018-05-04T01:14:52Z"}]}`,
		`[{"state":"approved","environments":[{"name":"production"}],"user":{"login":"mona"}}]`,
		`{"status":"ahead","base_commit":{"sha":"` + sha + `"}}`,
		`{"name":"main","protected":true,"commit":{"sha":"` + sha + `"}}`,
		`null`, `[]`, `{}`, `{"status":"ahead"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		runs, _, err := readRuns(body, sha)
		fuzzChecks(t, body, "completed", "conclusion", runs, err)
		statuses, err := readStatuses(body, sha)
		fuzzChecks(t, body, "", "state", statuses, err)
		reviews, err := readReviews(body)
		for _, r := range reviews {
			if err != nil || r.User == "" || len(r.Environments) == 0 || r.Approved && !holds(body, "approved") {
				t.Errorf("%q is a review by %+v, error %v", body, r, err)
			}
		}
		if relation, err := readComparison(body, sha); err == nil && (!holds(body, relation) || !holds(body, sha)) {
			t.Errorf("%q compares as %q", body, relation)
		}
		if commit, protected, err := readBranch(body, "main"); err == nil && (!holds(body, commit) || !holds(body, "main")) || err != nil && protected {
			t.Errorf("%q is branch main at %q, error %v", body, commit, err)
		}
	})
}

// fuzzChecks holds that a check is green only where the words for it are there, and
// that all of it can be shown.
func fuzzChecks(t *testing.T, body []byte, status, key string, list []check, err error) {
	if err != nil && list != nil {
		t.Errorf("%q is %v and error %v", body, list, err)
	}
	for _, c := range list {
		if c.Name == "" || c.State == Passed && (!holds(body, "success") || !holds(body, status)) {
			t.Errorf("%q has %s %+v", body, key, c)
		}
		for _, r := range c.Detail + c.URL {
			if r < ' ' || r > '~' || r == utf8.RuneError {
				t.Errorf("%q shows %q", body, c.Detail+c.URL)
			}
		}
	}
	if len(list) > 0 && !holds(body, sha) {
		t.Errorf("%q is of the commit: %v", body, list)
	}
}

// holds reports whether JSON may hold a text: literally, or where it has escapes.
func holds(body []byte, text string) bool {
	return strings.Contains(string(body), text) || strings.Contains(string(body), `\u`)
}

func TestShownTexts(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{cut("aäa", 2), "a…"}, {cut("aäa", 3), "aä…"}, {cut("aä", 3), "aä"}, {cut("ää", 1), "…"},
		{quote("a\x1b\"", 9), `"a\x1b\""`}, {plain("timed_out", 60), "timed_out"}, {plain(`a"b`, 60), `"a\"b"`}, {plain("ü", 60), `"\u00fc"`},
		{line("a \"b\"\n\u202e…", 60), `a "b"\n\u202e…`},
	} {
		if !reflect.DeepEqual(test.got, test.want) {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}
