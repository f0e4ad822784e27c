package input

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// A workflow's secret has at most 48 KiB.
	maxRegistryAuth = 64 << 10

	// The YAML parser's time grows with the square of the nesting, or worse.
	maxBrackets = 2000

	registryAuthForm = "a YAML list whose entries have registry, username and password"
)

// registryAuth is registry-auth's text, read node by node: a scalar is taken as
// it was written (a password 0123 is no number), and no message shows any of it.
type registryAuth struct {
	entries []credential.Entry
	faults  []Fault
}

func parseRegistryAuth(text string) ([]credential.Entry, []Fault) {
	if text == "" {
		return nil, nil
	}
	var r registryAuth
	if tooLarge(text) {
		r.fault(nil, "text (not shown) that is too large or too deep", fmt.Sprintf("at most %d KiB", maxRegistryAuth>>10))
		return nil, r.faults
	}
	file, err := parser.ParseBytes([]byte(text), 0)
	switch {
	case err != nil:
		r.syntax(err)
	case len(file.Docs) != 1:
		r.fault(nil, "several YAML documents (not shown)", registryAuthForm)
	default:
		r.list(file.Docs[0].Body)
	}
	if len(r.faults) > 0 {
		return nil, r.faults
	}
	return r.entries, nil
}

// nested is a line that opens many levels at once.
var nested = regexp.MustCompile(`([-?:][ \t]+){16}`)

func tooLarge(text string) bool {
	return len(text) > maxRegistryAuth ||
		strings.Count(text, "[")+strings.Count(text, "{") > maxBrackets ||
		nested.MatchString(text)
}

// fault notes what is wrong at a token; nil: nowhere in particular.
func (r *registryAuth) fault(at *token.Token, given, expected string) {
	if at != nil && at.Position != nil {
		given = fmt.Sprintf("at line %d, column %d: %s", at.Position.Line, at.Position.Column, given)
	}
	r.faults = append(r.faults, Fault{Given: given, Expected: expected})
}

// syntax keeps the place of a YAML error and drops its message and its excerpt,
// which have the text around it.
func (r *registryAuth) syntax(err error) {
	var located yaml.Error
	var at *token.Token
	if errors.As(err, &located) {
		at = located.GetToken()
	}
	r.fault(at, "text (not shown) that is no YAML", registryAuthForm+", each once; a value with ': ', ' #', quotes, or one of @ ` % & * ! | > { [ at its beginning needs quotes around it")
}

func (r *registryAuth) list(body ast.Node) {
	sequence, ok := body.(*ast.SequenceNode)
	if !ok {
		r.fault(tokenOf(body), "no list", registryAuthForm)
		return
	}
	if len(sequence.Values) > maxItems {
		r.fault(nil, fmt.Sprintf("more than %d entries", maxItems), "fewer")
		return
	}
	seen := map[string]int{}
	for i, value := range sequence.Values {
		mapping, ok := value.(*ast.MappingNode)
		if !ok {
			r.fault(tokenOf(value), fmt.Sprintf("entry %d without keys", i+1), registryAuthForm)
			continue
		}
		entry, complete := r.entry(mapping, i+1)
		if !complete {
			continue
		}
		if first, again := seen[entry.Registry]; again {
			r.fault(tokenOf(value), fmt.Sprintf("entry %d for the same registry as entry %d", i+1, first), "one entry for each registry or path")
			continue
		}
		seen[entry.Registry] = i + 1
		r.entries = append(r.entries, entry)
	}
}

// entry reads one entry; it is complete if nothing in it is at fault.
func (r *registryAuth) entry(mapping *ast.MappingNode, number int) (credential.Entry, bool) {
	before := len(r.faults)
	// docker/login-action takes an entry without a registry for Docker Hub.
	e := credential.Entry{Registry: "docker.io"}
	fields := map[string]*string{"registry": &e.Registry, "username": &e.Username, "password": &e.Password}
	for _, pair := range mapping.Values {
		key := tokenOf(pair.Key)
		field, known := fields[key.Value]
		if !known {
			r.fault(key, fmt.Sprintf("an unknown key in entry %d", number), "registry, username or password; docker/login-action's scope is written as registry's path here, and its ecr is found out")
			continue
		}
		r.scalar(pair.Value, field)
	}
	switch {
	case len(r.faults) > before:
	case e.Username == "" || e.Password == "":
		r.fault(tokenOf(mapping), fmt.Sprintf("entry %d without a username or a password", number), "both; a secret that does not exist is empty, and a value that begins with # needs quotes")
	default:
		r.registry(mapping, &e, number)
	}
	return e, len(r.faults) == before
}

func (r *registryAuth) scalar(node ast.Node, field *string) {
	text, ok := scalarText(node)
	if !ok {
		r.fault(tokenOf(node), "a value (not shown) that is no plain text", "text; one that begins with * & ! { or [ needs quotes around it")
		return
	}
	if text != "" {
		*field = text
	}
}

// registry brings a registry to the form host or host/path. Docker Hub's old
// address stays as it is: its /v1/ is no repository's path.
func (r *registryAuth) registry(mapping *ast.MappingNode, e *credential.Entry, number int) {
	const hub = "https://index.docker.io/v1/"
	if e.Registry == hub {
		return
	}
	e.Registry = strings.TrimRight(strings.TrimPrefix(e.Registry, "https://"), "/")
	name, path, hasPath := strings.Cut(e.Registry, "/")
	if !host.MatchString(name) || hasPath && !grammar.MatchString(path) {
		r.fault(tokenOf(mapping), fmt.Sprintf("a registry (not shown) in entry %d that is no host", number), "a host, or a host and the beginning of a repository's path, such as ghcr.io/acme")
	}
}

func tokenOf(node ast.Node) *token.Token {
	if node == nil {
		return nil
	}
	return node.GetToken()
}

// scalarText is a scalar as it was written. Line ends at its end, which block
// scalars and pasted secrets have, are no part of a password.
func scalarText(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.NullNode:
		return "", true
	case *ast.StringNode:
		return strings.TrimRight(n.Value, "\r\n"), true
	case *ast.LiteralNode:
		return strings.TrimRight(n.Value.Value, "\r\n"), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return strings.TrimSpace(n.GetToken().Value), true
	}
	return "", false
}

// registryAuthSecrets is every value in the text that may be a secret, also if
// the text is faulty: of all keys but registry and username, so that a
// misspelt key gives nothing away.
func registryAuthSecrets(text string) []string {
	if tooLarge(text) {
		return looseSecrets(text)
	}
	file, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		return looseSecrets(text)
	}
	var secrets []string
	for _, doc := range file.Docs {
		if doc.Body != nil {
			ast.Walk(secretVisitor{&secrets}, doc.Body)
		}
	}
	return secrets
}

type secretVisitor struct{ secrets *[]string }

func (v secretVisitor) Visit(node ast.Node) ast.Visitor {
	pair, ok := node.(*ast.MappingValueNode)
	if !ok {
		return v
	}
	if key := tokenOf(pair.Key); key != nil && (key.Value == "registry" || key.Value == "username") {
		return v
	}
	if text, ok := scalarText(pair.Value); ok {
		*v.secrets = append(*v.secrets, text)
	}
	return v
}

var passwordLine = regexp.MustCompile(`(?i)passw?o?r?d["']?[ \t]*:[ \t]*([^\r\n]+)`)

// looseSecrets finds passwords without understanding YAML: what stands after
// the key, to the end of the line, to a comma or a brace, with and without
// quotes.
func looseSecrets(text string) []string {
	var secrets []string
	for _, match := range passwordLine.FindAllStringSubmatch(text, maxItems) {
		line := strings.TrimSpace(match[1])
		flow, _, _ := strings.Cut(line, ",")
		flow = strings.TrimRight(flow, " }]")
		secrets = append(secrets, line, flow, strings.Trim(line, `"'`), strings.Trim(flow, `"'`))
	}
	return secrets
}
