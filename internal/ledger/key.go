package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/artifact-promotion/promote/internal/template"
)

// The beginnings of the tags that the program keeps in a repository.
const (
	ledgerPrefix = "promotion-ledger."
	keepPrefix   = "promotion-keep."
)

// Reserved reports whether a tag is one that the program keeps for itself.
func Reserved(tag string) bool {
	return strings.HasPrefix(tag, ledgerPrefix) || strings.HasPrefix(tag, keepPrefix)
}

// IsKept reports whether a tag is one that keeps a rollback target.
func IsKept(tag string) bool { return strings.HasPrefix(tag, keepPrefix) }

// Key names a ledger within its repository.
type Key struct {
	kind string // "env" or "tag"
	name string
}

// ForEnvironment is the key of an environment's ledger.
func ForEnvironment(name string) Key { return Key{"env", name} }

// ForTag is the key of the ledger of a moving tag that belongs to no environment.
func ForTag(tag string) Key { return Key{"tag", tag} }

// String is the name that stands in the ledger itself: tags may have lost its case.
func (k Key) String() string { return k.kind + ":" + k.name }

// Name is the environment's or the tag's name.
func (k Key) Name() string { return k.name }

func (k Key) tag(last string) string { return ledgerPrefix + k.kind + "." + short(k.name) + "." + last }

// head is the tag of one of the two heads.
func (k Key) head(n int) string { return k.tag([]string{"a", "b"}[n]) }

// segment is the tag of a segment, from 1.
func (k Key) segment(n int) string { return k.tag(strconv.Itoa(n)) }

// version is the tag of a version of the head, from 1, where tags are immutable.
func (k Key) version(n int) string { return k.tag("v" + strconv.Itoa(n)) }

// Kept is the tag that keeps a rollback target, from slot 1; empty: this ledger keeps none.
func (k Key) Kept(slot int) string {
	if k.kind != "env" {
		return ""
	}
	return keepPrefix + short(k.name) + "." + strconv.Itoa(slot)
}

// maxName leaves room in a tag, of at most 128 characters, for every prefix and number.
const maxName = 70

// short is the name where a tag can have it, else a lower-case tag with a part of its hash:
// Gitea changes tags to lower case.
func short(name string) string {
	lower := strings.ToLower(name)
	if lower == name && len(name) <= maxName && template.ValidTag("x"+name) {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:8])
	if len(lower) > maxName-17 || !template.ValidTag("x"+lower) {
		return id
	}
	return lower + "-" + id
}
