package template

import "strings"

// maxTag is the longest tag there is (OCI distribution specification, "Pulling
// manifests": [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}).
const maxTag = 128

const tagRule = "a tag of 1 to 128 letters, digits, '_', '.' and '-' that does not begin with '.' or '-'"

// ValidTag says whether a registry may hold a tag of this name.
func ValidTag(tag string) bool {
	if tag == "" || len(tag) > maxTag || strings.ContainsRune(".-", rune(tag[0])) {
		return false
	}
	return strings.IndexFunc(tag, notInTag) < 0
}

func notInTag(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune("_.-", r)
}
