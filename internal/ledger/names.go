package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/template"
)

// The beginnings of the tags that records and ledgers are kept under. A dot tells
// the full parts of a ledger from the ledger of an environment whose name ends in a
// number.
const (
	recordPrefix = "promotion-record-"
	ledgerPrefix = "promotion-ledger-"
	partPrefix   = "promotion-ledger."
)

// hexID is how many hex digits name a record in its tag.
const hexID = 32

// maxKey leaves room for every prefix, a record's id and a part's number.
const maxKey = 70

// ledgerTag is the tag of the ledger called key: an environment's name, or the
// first moving tag's where there is no environment.
func ledgerTag(key string) string { return ledgerPrefix + short(key) }

// partTag is the tag of a full part of a ledger.
func partTag(key string, part int) string {
	return partPrefix + strconv.Itoa(part) + "-" + short(key)
}

// partOf is the number of the part that a tag names, 0 if it names none of the key's.
func partOf(key, tag string) int {
	rest, found := strings.CutPrefix(tag, partPrefix)
	number, _, _ := strings.Cut(rest, "-")
	part, err := strconv.Atoi(number)
	if !found || err != nil || part < 1 || part > maxParts || partTag(key, part) != tag {
		return 0
	}
	return part
}

// versionTag is the tag of a version of a part, where tags cannot be changed.
func versionTag(key string, v version) string {
	return partPrefix + strconv.Itoa(v.part) + "." + strconv.Itoa(v.serial) + "-" + short(key)
}

// version numbers what is written of a part under tags that cannot be changed, from 1.
type version struct{ part, serial int }

// maxSerial bounds how many versions of a part there are.
const maxSerial = 100_000

func (v version) before(o version) bool {
	return v.part < o.part || v.part == o.part && v.serial < o.serial
}

// versionOf is the version that a tag names, zero if it names none of the key's.
func versionOf(key, tag string) version {
	rest, found := strings.CutPrefix(tag, partPrefix)
	numbers, _, _ := strings.Cut(rest, "-")
	part, serial, _ := strings.Cut(numbers, ".")
	var v version
	v.part, _ = strconv.Atoi(part)
	v.serial, _ = strconv.Atoi(serial)
	if !found || v.part < 1 || v.part > maxParts || v.serial < 1 || v.serial > maxSerial || versionTag(key, v) != tag {
		return version{}
	}
	return v
}

func recordTag(key, id string) string { return recordPrefix + short(key) + "-" + id }

// isRecordTag reports whether a tag is of a record of the ledger called key.
func isRecordTag(key, tag string) bool {
	id, found := strings.CutPrefix(tag, recordTag(key, ""))
	if !found || len(id) != hexID {
		return false
	}
	_, err := hex.DecodeString(id)
	return err == nil && id == strings.ToLower(id)
}

// short is the key where it fits into a tag, else its hash.
func short(key string) string {
	if len(key) <= maxKey && template.ValidTag("_"+key) {
		return key
	}
	return hash(key)
}

// identity names the promotion that a record is of: all attempts of a run's job are
// one, for each ledger, mode and repository. Two of them in one job are told apart by
// more.
func identity(r document.Record, more ...string) string {
	parts := append([]string{r.Job.Repository, r.Job.RunID, r.Job.Name, r.Ledger, string(r.Mode), r.Repository}, more...)
	return hash(strings.Join(parts, "\n"))[:hexID]
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
