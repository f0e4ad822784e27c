package report

import (
	"regexp"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

// pasteable is what may stand in a command that a reader copies into a shell or
// a workflow: the letters of references and digests, nothing that either reads
// as its own.
var pasteable = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$`)

// move is one way back: tags that held the same digest before.
type move struct {
	source  string // repository@digest
	targets []string
}

// commands are the blocks to copy: how to verify, and how to go back.
func commands(r document.Report) []string {
	var blocks []string
	if lines := verifyCommands(r); len(lines) > 0 {
		blocks = append(blocks, "Verify:", fence("sh", strings.Join(lines, "\n")))
	}
	return append(blocks, goBack(r)...)
}

// verifyCommands are offered where the digest is known to be at the target.
func verifyCommands(r document.Report) []string {
	var lines []string
	for _, p := range r.Promotions {
		image := p.Repository + "@" + p.Digest
		if !reached(r, p) || !pasteable.MatchString(image) {
			continue
		}
		for _, tag := range p.Tags {
			if holds(p, tag) && pasteable.MatchString(tag.Reference) {
				lines = append(lines, "crane digest "+tag.Reference+"  # "+p.Digest)
			}
		}
		lines = append(lines, "docker buildx imagetools inspect "+image)
		if signed(p) {
			lines = append(lines, "cosign verify --certificate-identity=IDENTITY --certificate-oidc-issuer=ISSUER "+image)
		}
	}
	return lines
}

func reached(r document.Report, p document.Promotion) bool {
	return p.Digest != "" && (r.Result == document.Unchanged || r.Result == document.Promoted ||
		r.Result == document.RolledBack || r.Result == document.Unrecorded)
}

// holds reports whether the tag holds the promotion's digest now.
func holds(p document.Promotion, tag document.Tag) bool {
	switch tag.State {
	case document.TagMoved, document.TagUnchanged:
		return true
	default:
		return p.Digest != "" && tag.After == p.Digest
	}
}

func signed(p document.Promotion) bool {
	for _, a := range p.Attachments {
		if strings.HasSuffix(a.Tag, ".sig") || strings.HasPrefix(a.ArtifactType, "application/vnd.dev.sigstore.bundle") ||
			strings.HasPrefix(a.ArtifactType, "application/vnd.dev.cosign.artifact.sig") {
			return true
		}
	}
	return false
}

// wayBack collects what would bring back the digests that moving tags held.
func wayBack(r document.Report) []move {
	var moves []move
	at := map[string]int{}
	for _, p := range r.Promotions {
		for _, tag := range p.Tags {
			source := p.Repository + "@" + tag.Before
			if !reversible(tag) || !pasteable.MatchString(source) || !pasteable.MatchString(tag.Reference) {
				continue
			}
			i, known := at[source]
			if !known {
				i = len(moves)
				at[source] = i
				moves = append(moves, move{source: source})
			}
			moves[i].targets = append(moves[i].targets, tag.Reference)
		}
	}
	return moves
}

func reversible(tag document.Tag) bool {
	left := tag.State == document.TagMoved || tag.State == document.TagLeft
	return left && !tag.Fixed && fullDigest.MatchString(tag.Before)
}

func step(m move) string {
	lines := []string{
		"- uses: artifact-promotion/promote@v1",
		"  with:",
		"    source: " + m.source,
		"    target: |",
	}
	for _, target := range m.targets {
		lines = append(lines, "      "+target)
	}
	return strings.Join(lines, "\n")
}

func shell(moves []move) string {
	var lines []string
	for _, m := range moves {
		lines = append(lines, "promote --source="+m.source+" --target="+strings.Join(m.targets, ","))
	}
	return strings.Join(lines, "\n")
}
