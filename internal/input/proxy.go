package input

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
)

// proxyVariables name forward proxies, as net/http reads them
// (golang.org/x/net/http/httpproxy, FromEnvironment).
var proxyVariables = []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"}

// readProxies keeps the passwords of forward proxies secret. It refuses an address that
// net/http cannot read, because its error would quote it whole.
func (r *reader) readProxies(env map[string]string) {
	for _, name := range proxyVariables {
		address := env[name]
		if address == "" {
			continue
		}
		r.maskProxy(address)
		if !isProxy(address) {
			r.refuse(name, "an address that cannot be read (not shown, as it may hold a password)",
				"http:// or https://, a host and a port; special characters of a password need percent-encoding", name+": http://user:p%40ss@proxy.acme.example:3128")
		}
	}
}

// maskProxy masks what proves who the user is: the password, else the user, as it is
// written, as it is meant, and as it is sent.
func (r *reader) maskProxy(address string) {
	_, rest, found := strings.Cut(address, "://")
	if !found {
		rest = address
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return
	}
	user, password, found := strings.Cut(rest[:at], ":")
	secret := password
	if !found {
		secret = user
	}
	r.mask(secret)
	if meant, err := url.PathUnescape(secret); err == nil {
		r.mask(meant)
	}
	if u, err := url.Parse("http://" + rest); err == nil && u.User != nil {
		meant, _ := u.User.Password()
		r.mask(base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + meant)))
	}
}

// isProxy reports whether net/http can use an address, which may lack its scheme.
func isProxy(address string) bool {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	return err == nil && u.Hostname() != "" && slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme)
}
