package main

import (
	"fmt"
	"slices"
)

// asked is a figure that the project set itself. All of them are over TLS.
type asked struct {
	what, limit string
	// reached is the figure as it is shown, and whether it holds; not measured if
	// it is empty.
	reached func(*results) (text string, holds bool)
}

const memoryLimit = 64 << 20

// Connections to one registry. Where no large blob moves, what is asked needs one
// with HTTP/2.
const (
	connectionsForBlobs = 26
	connectionsWithout  = 3
)

var wishes = []asked{
	against("cross", crane, 0.40), against("cross", regctlEverything, 0.25),
	against("again", regctlEverything, 1), against("again", crane, 1.35),
	against("mount", crane, 1.05),
	against("many", crane, 1.0/8),
	connections("cross", connectionsForBlobs),
	connections("again", connectionsWithout), connections("tag", connectionsWithout),
	connections("retag", connectionsWithout), connections("mount", connectionsWithout),
	connections("plan", connectionsWithout), connections("plan-again", connectionsWithout),
	resident(),
}

// reached is the table of what was asked beside what was measured.
func (r *results) reached(p *page) {
	var rows [][]string
	for _, a := range wishes {
		text, holds := a.reached(r)
		if text == "" {
			continue
		}
		verdict := "yes"
		if !holds {
			verdict = "**no**"
		}
		rows = append(rows, []string{a.what, a.limit, text, verdict})
	}
	if rows != nil {
		p.say("## Asked and reached")
		p.table([]string{"", "at most", "reached", "holds"}, rows)
	}
}

// connections is the most that one registry accepted in any of our runs.
func connections(scenario string, limit int) asked {
	return asked{titleOf(scenario) + ": connections to one registry", fmt.Sprint(limit), func(r *results) (string, bool) {
		if !r.ran(scenario, us) {
			return "", false
		}
		if _, ok := r.median(scenario, us); !ok {
			return "fails", false
		}
		most := 0
		for _, f := range r.figures[scenario][us] {
			most = max(most, f.hostConnections())
		}
		return fmt.Sprint(most), most <= limit
	}}
}

// resident is the most memory of ours in any case, with its name.
func resident() asked {
	return asked{"peak memory in every case", mebibytes(memoryLimit), func(r *results) (string, bool) {
		names := r.ours()
		if len(names) == 0 {
			return "", false
		}
		for _, n := range names {
			if _, ok := r.median(n, us); !ok {
				return titleOf(n) + " fails", false
			}
		}
		worst := slices.MaxFunc(names, func(a, b string) int { return int(r.peak(a, us) - r.peak(b, us)) })
		most := r.peak(worst, us)
		return mebibytes(most) + ": " + titleOf(worst), most <= memoryLimit
	}}
}

func against(scenario, peer string, limit float64) asked {
	return asked{titleOf(scenario) + ": wall to that of " + peer, fmt.Sprintf("%.3g", limit), func(r *results) (string, bool) {
		if !r.ran(scenario, us) || !r.ran(scenario, peer) {
			return "", false
		}
		ratio, ok := r.ratio(scenario, peer, wall)
		if !ok {
			return "fails", false
		}
		return fmt.Sprintf("%.3g", ratio), ratio <= limit
	}}
}
