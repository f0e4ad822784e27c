package wire

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Refusal is our own no to where a registry points.
type Refusal string

func (r Refusal) Error() string { return string(r) }

const errLinkLocal = Refusal("link-local addresses are refused: no registry lives there, but cloud metadata does")

func isLinkLocal(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLinkLocalUnicast() || ip == netip.MustParseAddr("fd00:ec2::254")
}

// CheckDestination decides whether a URL that a registry pointed to (a redirect,
// an upload's Location) may be used. It never sees the credential there; the
// question is whether it may be contacted at all. From https only https is
// reached; private and loopback address literals only from a registry that is
// itself named by one (ggcr#2440).
func CheckDestination(from, to *url.URL) error {
	if to.Scheme != "https" && (to.Scheme != "http" || from.Scheme != "http") {
		return Refusal(fmt.Sprintf("registry points from %s to %q: only https is followed", from.Scheme, Cut(to.Scheme, 40)))
	}
	if !isASCII(to.Host) {
		return Refusal(fmt.Sprintf("registry points to the host %q: only names in ASCII are followed", Cut(to.Hostname(), 100)))
	}
	if SameHost(from, to) {
		return nil
	}
	if to.User != nil {
		return Refusal("registry points to a URL with a user in it")
	}
	// The dialer refuses it too, but does not see what a proxy connects to.
	if ip, err := netip.ParseAddr(to.Hostname()); err == nil && isLinkLocal(ip) {
		return errLinkLocal
	}
	if isPrivate(to.Hostname()) && !isPrivate(from.Hostname()) {
		return Refusal(fmt.Sprintf("registry points to the private address %q: not followed", Cut(to.Hostname(), 100)))
	}
	return nil
}

// SameHost reports whether both URLs are of one scheme, host and port.
func SameHost(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && Port(a) == Port(b)
}

func Port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "http":
		return "80"
	default:
		return "443"
	}
}

func isPrivate(host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return IsLoopback(host) || endsInNumber(host)
	}
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsUnspecified() || isLinkLocal(ip)
}

// isASCII tells names that are dialled as they are written. net/http maps others
// first (IDNA, UTS #46), and other digits and full stops become those of an address.
func isASCII(host string) bool {
	return !strings.ContainsFunc(host, func(r rune) bool { return r >= utf8.RuneSelf })
}

// endsInNumber tells the spellings of an IPv4 address that only some resolvers
// take, such as 127.1 or 0x7f000001, from names (WHATWG URL, "ends in a number").
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := strings.ToLower(host[strings.LastIndex(host, ".")+1:])
	digits := "0123456789"
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		last, digits = "0"+hex, digits+"abcdef"
	}
	return last != "" && strings.Trim(last, digits) == ""
}

func IsLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
