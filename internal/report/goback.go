package report

import (
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

// setting is an input of the action, or a flag of the program.
type setting struct{ name, value string }

// goBack are the blocks that bring back what the tags held before: by a rollback
// where an environment owns the tags, since nothing else may move them.
func goBack(r document.Report) []string {
	switch {
	case len(wayBack(r)) == 0:
		return nil
	case r.TargetEnv == "":
		return goBackByTags(wayBack(r))
	case !pasteable.MatchString(r.TargetEnv):
		return nil
	case r.Result == document.RolledBack:
		return goForward(r)
	default:
		return goBackInEnvironment(r)
	}
}

func goBackByTags(back []move) []string {
	var blocks []string
	if len(back) == 1 {
		blocks = append(blocks, "Go back, as a step of a workflow:", fence("yaml", step(back[0])))
	}
	return append(blocks, "Go back, from a shell:", fence("sh", shell(back)))
}

// goBackInEnvironment names the digest of a single image, because a later promotion
// changes what is the previous one. A release that is in the ledger goes back as a
// whole; else its images go back one by one.
func goBackInEnvironment(r document.Report) []string {
	switch {
	case len(r.Promotions) == 1:
		return ways("Go back", "rollback", rollback(r, setting{"to", wentFrom(r.Promotions[0])}))
	case r.Result == document.Promoted:
		return ways("Go back", "rollback", rollback(r))
	}
	var commands []string
	for _, p := range r.Promotions {
		if from := wentFrom(p); from != "" && pasteable.MatchString(p.Image) {
			commands = append(commands, flags("rollback", rollback(r, setting{"images", p.Image}, setting{"to", from})))
		}
	}
	if len(commands) == 0 {
		return nil
	}
	return []string{"Go back, from a shell:", fence("sh", strings.Join(commands, "\n"))}
}

// wentFrom is the digest that the first moving tag left; empty if none did.
func wentFrom(p document.Promotion) string {
	for _, tag := range p.Tags {
		if reversible(tag) {
			return tag.Before
		}
	}
	return ""
}

// goForward promotes what a rollback left, held to all gates.
func goForward(r document.Report) []string {
	moves := wayBack(r)
	if len(r.Promotions) != 1 || len(moves) != 1 {
		return nil
	}
	return ways("Promote again what the rollback left", "", configured(r, setting{"source", moves[0].source}, setting{"target-env", r.TargetEnv}))
}

func rollback(r document.Report, settings ...setting) []setting {
	settings = append([]setting{{"target-env", r.TargetEnv}}, settings...)
	return configured(r, append(settings, setting{"reason", "WHY"})...)
}

// configured are the settings that have a value, and the config that this run had.
func configured(r document.Report, settings ...setting) []setting {
	_, config := configOf(document.Plan{Config: r.Config, NoGates: r.NoGates})
	var all []setting
	for _, s := range append(settings, setting{"config", config}) {
		if s.value != "" {
			all = append(all, s)
		}
	}
	return all
}

func ways(title, mode string, settings []setting) []string {
	return []string{
		title + ", as a step of a workflow:", fence("yaml", inputs(mode, settings)),
		title + ", from a shell:", fence("sh", flags(mode, settings)),
	}
}

func inputs(mode string, settings []setting) string {
	lines := []string{"- uses: artifact-promotion/promote@v1", "  with:"}
	if mode != "" {
		lines = append(lines, "    mode: "+mode)
	}
	for _, s := range settings {
		lines = append(lines, "    "+s.name+": "+s.value)
	}
	return strings.Join(lines, "\n")
}

func flags(mode string, settings []setting) string {
	words := []string{"promote"}
	if mode != "" {
		words = append(words, mode)
	}
	for _, s := range settings {
		words = append(words, "--"+s.name+"="+s.value)
	}
	return strings.Join(words, " ")
}
