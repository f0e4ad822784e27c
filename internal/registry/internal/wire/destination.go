package wire

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Refusal is an address from a registry that this client does not contact, and why.
type Refusal string

func (r Refusal) Error() string { return string(r) }

const errLinkLocal = Refusal("link-local address refused: cloud metadata services use them, registries do not")

func isLinkLocal(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLinkLocalUnicast() || ip == netip.MustParseAddr("fd00:ec2::254")
}

// CheckDestination checks that a URL from a registry (a redirect, the Location of an upload)
// may be contacted. No credential is ever sent there. A registry at https may point to https
// only, and only a registry at a private or loopback address may point to such an address
// (ggcr#2440).
func CheckDestination(from, to *url.URL) error {
	if to.Scheme != "https" && (to.Scheme != "http" || from.Scheme != "http") {
		return Refusal(fmt.Sprintf("the registry points from %s to %q: only https is allowed", from.Scheme, Cut(to.Scheme, 40)))
	}
	if !isASCII(to.Host) {
		return Refusal(fmt.Sprintf("the registry points to the host %q: only ASCII names are allowed", Cut(to.Hostname(), 100)))
	}
	if SameHost(from, to) {
		return nil
	}
	if to.User != nil {
		return Refusal("the registry points to a URL that contains a user name")
	}
	// The dialer refuses it too, but only for direct connections, not for those of a proxy.
	if ip, err := netip.ParseAddr(to.Hostname()); err == nil && isLinkLocal(ip) {
		return errLinkLocal
	}
	if isPrivate(to.Hostname()) && !isPrivate(from.Hostname()) {
		return Refusal(fmt.Sprintf("the registry points to the private address %q: not allowed", Cut(to.Hostname(), 100)))
	}
	return nil
}

// SameHost reports whether two URLs have the same scheme, host and port.
func SameHost(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && Port(a) == Port(b)
}

// Port is the port of a URL, or the default port of its scheme.
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

// isASCII reports whether net/http dials a name as it is written. It maps others first (IDNA,
// UTS #46), which turns other digits and full stops into those of an address.
func isASCII(host string) bool {
	return !strings.ContainsFunc(host, func(r rune) bool { return r >= utf8.RuneSelf })
}

// endsInNumber reports whether a name is a spelling of an IPv4 address that only some resolvers
// accept, such as 127.1 or 0x7f000001 (WHATWG URL, "ends in a number").
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := strings.ToLower(host[strings.LastIndex(host, ".")+1:])
	digits := "0123456789"
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		last, digits = "0"+hex, digits+"abcdef"
	}
	return last != "" && strings.Trim(last, digits) == ""
}

// IsLoopback reports whether a host name or address is that of this machine.
func IsLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
