package main

import (
	"context"
	"flag"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/rogpeppe/go-internal/testscript"
)

// startRegistry starts a registry and sets NAME to its host.
//
//	registry NAME [-api] [-page BYTES] [-delete] [-immutable PREFIX] [-tls]
//		[-account USER:PASSWORD:REPOSITORY=ACTIONS]... [-basic] [-onescope] [-ttl DURATION]
//		[-fault METHOD|PATHPART|STATUS[|TIMES[|AFTER]]]... [-answer METHOD|PATHPART|STATUS|MEDIATYPE|FILE]...
//		[-corrupt PATHPART]... [-cut METHOD|PATHPART]... [-slow METHOD|PATHPART|DURATION]...
//		[-hang METHOD|PATHPART]... [-meanwhile METHOD|PATHPART|REFERENCE|TAG]...
//
// A fault happens to every such request, or to TIMES of them, after AFTER that get by.
// Without an account it is open to everyone; without -delete it deletes nothing;
// -tls writes its authority's certificate to NAME.pem. Faults are for the program
// alone, not for this file's own requests. The first request that is to hang has no answer
// and no effect, for as long as its client waits. -meanwhile has somebody else point a tag
// to what another of the same repository holds, just before such a request.
func startRegistry(ts *testscript.TestScript, _ bool, args []string) {
	if up := worldOf(ts).up; up != nil && up.introduce(ts, args[0]) {
		return
	}
	flags := flag.NewFlagSet("registry", flag.ContinueOnError)
	var o regtest.Options
	var f trouble
	flags.BoolVar(&o.Referrers, "api", false, "")
	flags.Int64Var(&o.ReferrersPage, "page", 0, "")
	flags.BoolVar(&o.Delete, "delete", false, "")
	flags.BoolVar(&o.TLS, "tls", false, "")
	basic := flags.Bool("basic", false, "")
	oneScope := flags.Bool("onescope", false, "")
	ttl := flags.Duration("ttl", 0, "")
	immutable := flags.String("immutable", "", "")
	var accounts list
	flags.Var(&accounts, "account", "")
	flags.Var(&f.status, "fault", "")
	flags.Var(&f.answer, "answer", "")
	flags.Var(&f.corrupt, "corrupt", "")
	flags.Var(&f.cut, "cut", "")
	flags.Var(&f.slow, "slow", "")
	flags.Var(&f.hang, "hang", "")
	flags.Var(&f.meanwhile, "meanwhile", "")
	name := args[0]
	ts.Check(flags.Parse(args[1:]))

	root := regtest.Access{}
	if len(accounts) > 0 {
		root = regtest.Access{User: "root", Password: "root-of-the-test"}
		o.Auth = authOf(ts, accounts, root)
		o.Auth.Basic, o.Auth.OneScope, o.Auth.TokenTTL = *basic, *oneScope, *ttl
	}
	if *immutable != "" {
		o.Immutable = func(_, tag string) bool { return strings.HasPrefix(tag, *immutable) }
	}
	if run := worldOf(ts).vendor; run != nil && *immutable == "" && f.isNone() {
		run.apply(&o)
	}
	wraps := f.wraps(ts)
	if *distribution != "" && !o.Referrers {
		o.Backend = spawn(ts)
		if !o.Delete { // distribution always deletes
			wraps = append(wraps, always(http.MethodDelete, "/", http.StatusMethodNotAllowed))
		}
	}
	o.Wrap = regtest.Chain(wraps...)
	r, err := regtest.Start(o)
	ts.Check(err)
	ts.Defer(func() { _ = r.Close() })
	introduce(ts, name, r, root)
}

func spawn(ts *testscript.TestScript) http.Handler {
	backend, stop, err := regtest.Spawn(context.Background(), *distribution)
	ts.Check(err)
	ts.Defer(func() { _ = stop() })
	return backend
}

// introduce makes a registry known to the script, by its address and by the name
// localhost.
func introduce(ts *testscript.TestScript, name string, r *regtest.Registry, root regtest.Access) {
	w := worldOf(ts)
	w.registries[name] = r
	_, port, _ := strings.Cut(r.Host(), ":")
	for _, host := range []string{r.Host(), "localhost:" + port} {
		access := r.Access(root.User, root.Password)
		access.Host = host
		w.access[host] = access
	}
	ts.Setenv(name, r.Host())
	ts.Setenv(name+"_port", port)
	if r.CAPEM() != nil {
		ts.Check(os.WriteFile(ts.MkAbs(name+".pem"), r.CAPEM(), 0o600))
	}
}

// authOf makes the accounts; root may do everything.
func authOf(ts *testscript.TestScript, accounts list, root regtest.Access) *regtest.Auth {
	auth := &regtest.Auth{Users: map[string]regtest.User{
		root.User: {Password: root.Password, Grants: []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}},
	}}
	for _, account := range accounts {
		parts := strings.SplitN(account, ":", 3)
		if len(parts) != 3 {
			ts.Fatalf("account %q is not USER:PASSWORD:REPOSITORY=ACTIONS", account)
		}
		repository, actions, _ := strings.Cut(parts[2], "=")
		user := auth.Users[parts[0]]
		user.Password = parts[1]
		user.Grants = append(user.Grants, regtest.Grant{Repository: repository, Actions: strings.Split(actions, ",")})
		auth.Users[parts[0]] = user
		keepSecret(ts, false, []string{parts[1]})
	}
	return auth
}

// trouble makes a registry fail, lie, or wait.
type trouble struct{ status, answer, corrupt, cut, slow, hang, meanwhile list }

func (f trouble) isNone() bool {
	return len(f.status)+len(f.answer)+len(f.corrupt)+len(f.cut)+len(f.slow)+len(f.hang)+len(f.meanwhile) == 0
}

func (f trouble) wraps(ts *testscript.TestScript) []func(http.Handler) http.Handler {
	var wraps []func(http.Handler) http.Handler
	for _, text := range f.meanwhile {
		p := fields(ts, text, 4, 4)
		wraps = append(wraps, meanwhile(ts, byProgram(p[0], p[1]), p[2], p[3]))
	}
	for _, text := range f.status {
		p := fields(ts, text, 3, 5)
		if len(p) == 3 {
			wraps = append(wraps, always(p[0], p[1], number(ts, p[2])))
			continue
		}
		from := 0
		if len(p) == 5 {
			from = number(ts, p[4])
		}
		match := between(from, from+number(ts, p[3]), byProgram(p[0], p[1]))
		wraps = append(wraps, regtest.Answer(match, number(ts, p[2]), "text/plain", nil))
	}
	for _, text := range f.answer {
		p := fields(ts, text, 5, 5)
		wraps = append(wraps, regtest.Answer(byProgram(p[0], p[1]), number(ts, p[2]), p[3], []byte(ts.ReadFile(p[4]))))
	}
	for _, part := range f.corrupt {
		wraps = append(wraps, corrupt(byProgram(http.MethodGet, part)))
	}
	for _, text := range f.cut {
		p := fields(ts, text, 2, 2)
		wraps = append(wraps, cut(byProgram(p[0], p[1])))
	}
	for _, text := range f.hang {
		p := fields(ts, text, 2, 2)
		wraps = append(wraps, hang(between(0, 1, byProgram(p[0], p[1]))))
	}
	for _, text := range f.slow {
		p := fields(ts, text, 3, 3)
		d, err := time.ParseDuration(p[2])
		ts.Check(err)
		wraps = append(wraps, delay(byProgram(p[0], p[1]), d))
	}
	return wraps
}

func fields(ts *testscript.TestScript, text string, least, most int) []string {
	parts := strings.Split(text, "|")
	if len(parts) < least || len(parts) > most {
		ts.Fatalf("%q has %d parts between |, want %d to %d", text, len(parts), least, most)
	}
	return parts
}

func number(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}

func byProgram(method, part string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return r.Method == method && r.UserAgent() != regtest.Agent && strings.Contains(r.URL.Path, part)
	}
}

// between matches those of the requests that match whose number, from 0, is in a range.
func between(from, to int, match func(*http.Request) bool) func(*http.Request) bool {
	var seen atomic.Int32
	return func(r *http.Request) bool {
		if !match(r) {
			return false
		}
		n := int(seen.Add(1)) - 1
		return n >= from && n < to
	}
}

func always(method, part string, status int) func(http.Handler) http.Handler {
	return regtest.Answer(byProgram(method, part), status, "text/plain", nil)
}

// cut breaks the connection of the first request that matches: in the middle of
// what is read, and after what is written was done.
func cut(match func(*http.Request) bool) func(http.Handler) http.Handler {
	isRead := func(r *http.Request) bool { return r.Method == http.MethodGet && match(r) }
	isWrite := func(r *http.Request) bool { return r.Method != http.MethodGet && match(r) }
	return regtest.Chain(regtest.CutBody(isRead, 100), regtest.ResetAfter(isWrite))
}

func delay(match func(*http.Request) bool, d time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if match(r) {
				select {
				case <-r.Context().Done():
				case <-time.After(d):
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// hang leaves requests without an answer and without an effect.
func hang(match func(*http.Request) bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !match(r) {
				next.ServeHTTP(w, r)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that its client is gone
			<-r.Context().Done()
		})
	}
}

// meanwhile moves a tag of the request's repository before the first request that
// matches.
func meanwhile(ts *testscript.TestScript, match func(*http.Request) bool, from, tag string) func(http.Handler) http.Handler {
	var once sync.Once
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if match(r) {
				once.Do(func() {
					repository, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
					ts.Check(regtest.PutTag(r.Context(), worldOf(ts).access[r.Host], repository, tag, from))
				})
			}
			next.ServeHTTP(w, r)
		})
	}
}

// corrupt changes the first byte of answers that match.
func corrupt(match func(*http.Request) bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if match(r) {
				w = &corruptWriter{ResponseWriter: w}
			}
			next.ServeHTTP(w, r)
		})
	}
}

type corruptWriter struct {
	http.ResponseWriter
	begun bool
}

func (c *corruptWriter) Write(p []byte) (int, error) {
	if len(p) > 0 && !c.begun {
		c.begun = true
		p = append([]byte{p[0] ^ 1}, p[1:]...)
	}
	return c.ResponseWriter.Write(p)
}

type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }
