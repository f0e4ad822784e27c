package main

import (
	"encoding/pem"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// forwardProxy is a forward proxy as companies run one: it tunnels by CONNECT (RFC 9110,
// section 9.3.6), it alone can resolve the names of hosts, and it may ask for a password
// (section 11.7.1).
type forwardProxy struct {
	hosts map[string]string // by name: where they really are
	user  *url.Userinfo     // nil: everybody may

	mu       sync.Mutex
	tunnels  []string // host:port, each once
	strayed  []string // requests that came without a tunnel
	rejected int
}

func (p *forwardProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, _, _ := net.SplitHostPort(r.Host)
	address, known := p.hosts[name]
	switch {
	case r.Method != http.MethodConnect:
		p.note(&p.strayed, r.Method+" "+r.URL.String())
		http.Error(w, "tunnels only", http.StatusMethodNotAllowed)
	case !p.admits(r):
		p.mu.Lock()
		p.rejected++
		p.mu.Unlock()
		w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
		http.Error(w, "who are you?", http.StatusProxyAuthRequired)
	case !known:
		http.Error(w, "no such host", http.StatusBadGateway)
	default:
		p.note(&p.tunnels, r.Host)
		tunnel(w, address)
	}
}

func (p *forwardProxy) note(list *[]string, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(*list, text) {
		*list = append(*list, text)
	}
}

// admits reads the credential as a request to an origin has it, under its own name.
func (p *forwardProxy) admits(r *http.Request) bool {
	if p.user == nil {
		return true
	}
	as := &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	user, password, ok := as.BasicAuth()
	want, _ := p.user.Password()
	return ok && user == p.user.Username() && password == want
}

// tunnel carries bytes both ways until both sides have ended.
func tunnel(w http.ResponseWriter, address string) {
	there, err := net.Dial("tcp", address)
	if err != nil {
		http.Error(w, "no way there", http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = there.Close()
		return
	}
	var both sync.WaitGroup
	carry := func(to, from net.Conn, read io.Reader) {
		_, _ = io.Copy(to, read)
		_, _ = to.Close(), from.Close() // what one side has ended, the other need not wait for
	}
	both.Go(func() { carry(there, here, buffered) })
	both.Go(func() { carry(here, there, there) })
	both.Wait()
}

// startProxy starts a forward proxy that alone knows the hosts of REGISTRY by NAME, or
// "github" for the script's GitHub, and sets PROXY to its address without a user, and PROXY_host to that without the scheme.
// -tls serves https and writes the authority's certificate to PROXY.pem.
//
//	proxy PROXY [-tls] [-account USER:PASSWORD] NAME=REGISTRY...
func startProxy(ts *testscript.TestScript, _ bool, args []string) {
	flags := flag.NewFlagSet("proxy", flag.ContinueOnError)
	secure := flags.Bool("tls", false, "")
	account := flags.String("account", "", "")
	ts.Check(flags.Parse(args[1:]))
	p := &forwardProxy{hosts: map[string]string{}}
	if user, password, ok := strings.Cut(*account, ":"); ok {
		p.user = url.UserPassword(user, password)
		keepSecret(ts, false, []string{password})
	}
	for name, there := range pairs(flags.Args()) {
		if there == "github" {
			p.hosts[name] = secureGitHub(ts)
			continue
		}
		p.hosts[name] = worldOf(ts).registries[there].Host()
	}
	server := httptest.NewUnstartedServer(p)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that the program is to break off
	if *secure {
		server.StartTLS()
		block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
		ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pem"), pem.EncodeToMemory(block), 0o600))
	} else {
		server.Start()
	}
	ts.Defer(server.Close)
	worldOf(ts).proxies[args[0]] = p
	ts.Setenv(args[0], server.URL)
	ts.Setenv(args[0]+"_host", server.Listener.Addr().String())
}

// secureGitHub serves the script's GitHub over TLS, with a certificate for
// *.example.com, of the authority that a proxy with -tls has too.
func secureGitHub(ts *testscript.TestScript) (address string) {
	server := httptest.NewTLSServer(gitHubOf(ts))
	ts.Defer(server.Close)
	return server.Listener.Addr().String()
}

// checkTunnels checks to which hosts a proxy has made tunnels since it was last asked,
// in any order, and that nothing else was asked of it. With ! it checks that it has
// turned somebody away, and made none.
//
//	tunnels PROXY HOST:PORT...
func checkTunnels(ts *testscript.TestScript, neg bool, args []string) {
	p := worldOf(ts).proxies[args[0]]
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.tunnels)
	want := slices.Sorted(slices.Values(args[1:]))
	if !slices.Equal(p.tunnels, want) || len(p.strayed) > 0 || neg != (p.rejected > 0) {
		ts.Fatalf("tunnels to %v, other requests %v, %d turned away", p.tunnels, p.strayed, p.rejected)
	}
	p.tunnels, p.strayed, p.rejected = nil, nil, 0
}
